"""What a result rests on: this code, the engine, the potential, numbers of others; what `cascade cite` prints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cascade_driver.analysis.published import CAWO4, CAWO4_POTENTIAL
from cascade_driver.campaign.plan import Campaign
from cascade_driver.campaign.rundir import RunDirectory
from cascade_driver.config import RunInput
from cascade_driver.models import analysis_of
from cascade_driver.request import (
    AnySpectrumRequest,
    CaptureRequest,
    DarkMatterRequest,
    NeutrinoRequest,
    ReactorRequest,
    SolarRequest,
)
from cascade_driver.schema import build, parameters, read_toml
from cascade_driver.simulation.potential import Potential, load_potential
from cascade_driver.simulation.provenance import provenance
from cascade_driver.version import commit, version

#: The one table of references.
REFERENCES = Path(__file__).parent / "references.toml"

#: What potentials are cited for by the words of their commands.
_FORMS = ("uf3", "snap", "pod")

_DOI = re.compile(r"10\.\d{4,}/[^\s,;\"]+")


@parameters
class Reference:
    """A publication or a collection of data.

    Attributes
    ----------
    used_for : tuple of str
        When it is cited: `always`, `campaign`, the kind of a source, ...
    what : str
        What was taken from it.
    author : str
        As BibTeX has it, with ` and ` between names.
    title, journal, booktitle, volume, pages, doi, url : str
    year : int
    """

    used_for: tuple[str, ...]
    what: str
    author: str
    title: str
    year: int
    journal: str = ""
    booktitle: str = ""
    volume: str = ""
    pages: str = ""
    doi: str = ""
    url: str = ""

    @property
    def text(self) -> str:
        """In one line."""
        names = self.author.replace("{", "").replace("}", "").split(" and ")
        who = f"{names[0]} et al." if len(names) > 3 or names[-1] == "others" else ", ".join(names)
        place = " ".join(word for word in (self.journal or self.booktitle, self.volume) if word)
        where = ", ".join(word for word in (place, self.pages) if word)
        link = f"doi:{self.doi}" if self.doi else self.url
        return ", ".join(word for word in (who, self.title, f"{where} ({self.year})".strip(), link) if word)

    def bibtex(self, key: str) -> str:
        """Return its entry."""
        kind = "article" if self.journal else "incollection" if self.booktitle else "misc"
        names = ("author", "title", "journal", "booktitle", "volume", "pages", "year", "doi", "url")
        return _entry(kind, key, {name: str(getattr(self, name)) for name in names})


@dataclass(frozen=True, kw_only=True)
class Citation:
    """What is to be cited.

    Attributes
    ----------
    code : tuple of str
        Versions and commits of this code, with the engine where there are records.
    potential : Potential, optional
    references : dict
        By key, in the order of the table.
    """

    code: tuple[str, ...]
    potential: Potential | None
    references: dict[str, Reference]

    @property
    def lines(self) -> Iterator[str]:
        """For people, one line each."""
        yield from self.code
        if self.potential is not None:
            yield f"potential {self.potential.name} ({self.potential.digest}): {self.potential.about.origin}"
        for reference in self.references.values():
            yield f"{reference.what}: {reference.text}"

    @property
    def bibtex(self) -> Iterator[str]:
        """The same as entries of BibTeX."""
        yield _entry(
            "misc",
            "cascade_driver",
            {
                "author": "{The cascade_driver developers}",
                "title": "cascade_driver: energy that low-energy nuclear recoils leave in crystal defects",
                "note": "; ".join(self.code),
            },
        )
        if self.potential is not None:
            about = self.potential.about
            note = f"{about.origin}; digest {self.potential.digest}"
            yield _entry("misc", f"potential-{self.potential.name}", {"title": about.title, "note": note})
        for key, reference in self.references.items():
            yield reference.bibtex(key)


def references() -> dict[str, Reference]:
    """Return the table of all references, by key."""
    content = read_toml(REFERENCES)
    return {key: build(Reference, entry, origin=f"{REFERENCES}: {key}") for key, entry in content.items()}


def cite_all() -> Citation:
    """Return all that anything here rests on."""
    return Citation(
        code=(f"cascade_driver {version()}, commit {commit()}",), potential=None, references=references()
    )


def cite_run(directory: RunDirectory, *, campaign: Campaign | None = None, every_record: bool = True) -> Citation:
    """Return what a run rests on: its records, its potential, and the spectra that its input asks for.

    Reading every record takes seconds for 1e5 of them; else the first one speaks for all. `campaign` is the plan,
    if it was read already.

    Raises
    ------
    InputError, PotentialError, RecordError
        If there is no run, or something in it is damaged.
    """
    campaign = campaign or directory.load()
    potential = directory.potential(campaign)
    wanted = analysis_of(directory)
    read = sorted(directory.finished())
    makers = Counter(directory.record(name).provenance.maker for name in (read if every_record else read[:1]))
    used = {"always", "campaign", *_of_potential(potential), *_of_input(wanted)}
    if campaign.protocol.follow.electronic_stopping is not None:
        used.add("stopping")
    known = set(_DOI.findall(potential.about.origin))
    return Citation(
        code=tuple(f"{count} cascades by {made}" if every_record else made for made, count in makers.most_common())
        or (provenance().maker + ", no cascade finished",),
        potential=potential,
        references={k: r for k, r in references().items() if used & set(r.used_for) or r.doi in known},
    )


def cite_named(model: str) -> Citation:
    """Return what corrections by a model rest on that comes with the package."""
    used, potential = {"always", "target", "published"}, None
    if model == CAWO4:
        potential = load_potential(CAWO4_POTENTIAL)
        used |= {"campaign", "fit", *_of_potential(potential)}
    return Citation(
        code=(f"cascade_driver {version()}, commit {commit()}",),
        potential=potential,
        references={key: r for key, r in references().items() if used & set(r.used_for)},
    )


def _of_potential(potential: Potential) -> Iterator[str]:
    yield "zbl"
    if "CP2K" in potential.about.origin:
        yield "cp2k"
    words = {
        word for command in potential.commands if command.startswith("pair_style") for word in command.split()
    }
    yield from (form for form in _FORMS if form in words)


def _of_input(wanted: RunInput) -> Iterator[str]:
    if wanted.analysis is not None:
        yield "fit"
    if wanted.spectra:
        yield from ("published", "target")
    for request in wanted.spectra:
        yield from uses(request)


def uses(request: AnySpectrumRequest) -> Iterator[str]:
    """Yield what a recoil spectrum is made of, as `Reference.used_for` names it."""
    yield request.kind
    match request:
        case DarkMatterRequest():
            if request.coupling != "independent":
                yield "dm-spin"
        case ReactorRequest():
            yield from ("reactor", f"reactor-{request.low_energy_flux}")
        case SolarRequest():
            yield "solar"
        case CaptureRequest():
            yield f"capture-{request.unresolved}"
    if isinstance(request, NeutrinoRequest) and request.magnetic_moment_bohr > 0:
        yield "magnetic"
    if isinstance(request, NeutrinoRequest) and request.mediator_mass_MeV is not None:
        yield "mediator"


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    """Return an entry of BibTeX; what TeX would act on is escaped."""
    lines = [f"  {name} = {{{_for_tex(name, value)}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _for_tex(name: str, value: str) -> str:
    return value if name in {"doi", "url"} else re.sub(r"([&%$#_])", r"\\\1", value)
