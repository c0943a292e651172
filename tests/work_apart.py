"""Work for processes of their own. A child imports it by its name, as a test module cannot be."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from cascade_driver.errors import InputError
from cascade_driver.simulation.lammps_engine import LammpsEngine
from cascade_driver.simulation.potential import Potential, load_potential


def count(say, most: int) -> int:
    for number in range(most):
        say(number)
    return os.getpid()


def complain(say, words: str) -> None:
    say("before")
    raise InputError(words)


def leave(say, how: str) -> None:
    say("before")
    if how == "quit":
        os._exit(7)
    os.kill(os.getpid(), getattr(signal, how))


def evaluate(say, folder: Path) -> float:
    engine = LammpsEngine(potential=load_potential(folder))
    engine.build(Atoms("CaO", positions=[[1, 1, 1], [3, 1, 1]], cell=[20] * 3, pbc=True))
    return engine.potential_energy_eV()


class Dying(LammpsEngine):
    """LAMMPS that dies where a crystal begins to move, in one way or the other."""

    def __init__(self, *, potential: Potential, how: str) -> None:
        super().__init__(potential=potential)
        self.how = how

    def heat(self, **settings):
        if self.how == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        os._exit(0)

    def follow(self, **settings):
        self.heat()


@dataclass(frozen=True)
class Files:
    """Tasks that write a file each, a line per time; `fatal` kills those who do it, so many times."""

    folder: Path
    names: tuple[str, ...]
    fatal: str = ""
    deaths: int = 0

    def waiting(self):
        return [name for name in self.names if not self.is_done(name)]

    def is_done(self, name):
        return (self.folder / name).exists()

    def do(self, name):
        if name == self.fatal:
            with (self.folder / "deaths").open("a") as stream:
                stream.write("x")
            if (self.folder / "deaths").stat().st_size <= self.deaths:
                os.kill(os.getpid(), signal.SIGKILL)
        with (self.folder / name).open("a") as stream:
            stream.write(f"{os.getpid()}\n")
