# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # Your own spectrum, in Python
#
# A script and a notebook in one: `jupytext --to ipynb notebook.py` makes the notebook of it, and the tests run it. Every
# verb of the command is one call here; `print(cd.__doc__)` lists them, `help(cd.observe)` tells one.

# %%
import numpy as np

import cascade_driver as cd

# %% [markdown]
# **A spectrum of yours** is bins with a rate for each element that recoils: per kg of target, day and keV. Here it is
# made up, and written as `numpy.savetxt` does. `cd.read_spectrum` reads that, and centres, semicolons, decimal commas.

# %%
edges_eV = np.linspace(1, 151, 151)
centre_eV = (edges_eV[1:] + edges_eV[:-1]) / 2
rate = 1e3 * np.exp(-centre_eV / 30)
table = np.c_[edges_eV[:-1], edges_eV[1:], rate]
np.savetxt("mine.csv", table, delimiter=",", header="energy_low_eV,energy_high_eV,rate_W")
mine = cd.read_spectrum("mine.csv")
mine

# %% [markdown]
# **A model** is what is stored: a run (`cd.load_model("runs/first")`), the file of `cascade fit`, or one of CaWO4 that
# ships: `cawo4`, cascades of this project, or, as here, `cawo4-published`, printed means with marked assumptions.

# %%
model = cd.load_model("cawo4-published")
model

# %% [markdown]
# **What a detector sees**, with an error band. Its parts say what dominates.

# %%
detector = cd.Detector(resolution_eV=3, threshold_eV=20)
seen = cd.observe(mine, model, detector=detector, extrapolate=True)
print(seen)
for note in seen.notes:
    print("note:", note)

# %% [markdown]
# As a table (it takes `pip install pandas`), as a file, as a figure on axes of yours:

# %%
frame = seen.to_pandas()
seen.write("seen.csv")
axes = seen.plot()
axes.figure.savefig("seen.png")
frame.tail()

# %% [markdown]
# **The response** itself, P(observed energy given recoil energy) in bins, for a fit of yours. Its columns sum to 1.

# %%
response = model.response("W", np.linspace(0, 160, 33))
response

# %% [markdown]
# **Sources** are functions. Here neutrinos of two reactor cores, beside the same with a magnetic moment.

# %%
cores = {"power_GW": (4.25, 4.25), "distance_m": (72.0, 102.0)}
for moment in (0, 1e-10):
    neutrinos = cd.reactor("CaWO4", **cores, magnetic_moment_bohr=moment, energy_eV=(1, 150), bins=149)
    print(cd.observe(neutrinos, model, detector=detector))
