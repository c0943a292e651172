"""A LAMMPS include of a potential, read as data: interactions and their coefficients, and nothing that acts.

A potential comes from anybody, and LAMMPS' language can run programs, write files and leave the process. So the
include is read here, by the rules of LAMMPS (`&` at the end of a line, quotes, `#`, variables), against a list of
commands, and LAMMPS is given the commands that were understood, never the file.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cascade_driver.errors import PotentialError
from cascade_driver.files import text_of

#: What an include may say.
COMMANDS = (
    "pair_style",
    "pair_coeff",
    "pair_modify",
    "special_bonds",
    "neighbor",
    "neigh_modify",
    "comm_modify",
    "mass",
    "variable",
    "include",
)

#: Variables that an include may define: words and arithmetic; none that ask files, programs or the environment.
VARIABLE_STYLES = ("index", "string", "equal")

#: Styles that run what their files hold: Python, shared libraries, pickles.
ACTING_STYLES = ("python", "kim", "quip", "mliappy", "unified")

#: In a command: the potential's own folder, and that of the coefficient files which come with LAMMPS.
FOLDER = "${potential_dir}"
DISTRIBUTION = "${distribution}"

#: Names of coefficient files: LAMMPS reads nothing else as it stands.
FILE_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+=,@~-]*(/[A-Za-z0-9_+-][A-Za-z0-9_.+=,@~-]*)*")

_WORD = re.compile(r"[A-Za-z0-9_.,:;=+*/<>()\[\]{}@%^~!?|-]+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?")
_PIECE = re.compile(
    r'"""(?P<triple>.*?)"""|"(?P<double>[^"]*)"|\'(?P<single>[^\']*)\'|(?P<bare>[^\s"\']+)|\s+', re.DOTALL
)
_VARIABLE = re.compile(r"\$(?:\{(?P<long>\w+)\}|(?P<short>[A-Za-z0-9]))")

_DEEPEST_INCLUDE = 8


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of an include.

    Attributes
    ----------
    words : tuple of str
        The command and its arguments; `${name}` is still to be replaced.
    verbatim : frozenset of int
        Which of the words stood in quotes, where LAMMPS replaces nothing.
    place : str
        File and line, for people.
    """

    words: tuple[str, ...]
    verbatim: frozenset[int]
    place: str


def read_commands(path: Path) -> list[Command]:
    """Return the commands of an include as they stand, each of them one that an include may say.

    Raises
    ------
    InputError
        If there is none.
    PotentialError
        If it says anything else, with file and line.
    """
    text = text_of(path, what="a LAMMPS include")
    commands = []
    for number, line in _logical_lines(text):
        command = _taken_apart(line, place=f"{path}:{number}")
        if command is None:
            continue
        if command.words[0] not in COMMANDS:
            raise PotentialError(
                f"{command.place}: `{command.words[0][:40]}` may not stand in a potential; "
                f"allowed are {', '.join(COMMANDS)}"
            )
        commands.append(command)
    return commands


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with the number that they begin at; `&` at the end and open triple quotes join them."""
    begun, whole = 0, ""
    for number, line in enumerate(text.split("\n"), start=1):
        begun = begun or number
        whole += line.rstrip()
        if whole.endswith("&"):
            whole = whole[:-1]
        elif whole.count('"""') % 2:
            whole += "\n"
        else:
            yield begun, whole
            begun, whole = 0, ""
    if whole.strip():
        yield begun, whole


def _taken_apart(line: str, *, place: str) -> Command | None:
    """Return the words of a line up to its comment; none if there are none."""
    words: list[str] = []
    verbatim: set[int] = set()
    position, apart = 0, True
    while position < len(line):
        found = _PIECE.match(line, position)
        if found is None:
            raise PotentialError(f"{place}: a quotation mark that is not closed")
        position = found.end()
        if found["bare"] is not None:
            word, hash_, _ = found["bare"].partition("#")
            if word:
                if not apart:
                    raise PotentialError(f"{place}: a quotation mark within a word; put a blank between them")
                words.append(word)
            if hash_:
                break
            apart = False
        elif found.lastgroup is not None:
            if not apart:
                raise PotentialError(f"{place}: a quotation mark within a word; put a blank between them")
            verbatim.add(len(words))
            words.append(found[found.lastgroup])
            apart = False
        else:
            apart = True
    return Command(words=tuple(words), verbatim=frozenset(verbatim), place=place) if words else None


def understood(
    name: str, *, folder: Path, files: Collection[str], distribution_files: Collection[str]
) -> tuple[str, ...]:
    """Return what LAMMPS is to be told for an include: one command a line, in plain words.

    Variables are replaced and nested includes unrolled. Coefficient files begin with `FOLDER` or `DISTRIBUTION`.

    Parameters
    ----------
    name : str
        The include.
    folder : pathlib.Path
        The potential's, in which it lies.
    files : collection of str
        Names of the files of the folder that it may name.
    distribution_files : collection of str
        Names of files that come with LAMMPS, likewise.

    Raises
    ------
    PotentialError
        If it says something that an include may not say, with file and line.
    """
    reading = _Reading(folder, files=frozenset(files), distribution_files=frozenset(distribution_files))
    return tuple(reading.commands(folder / name, depth=0))


class _Reading:
    """An include being read, with the variables that it has defined so far."""

    def __init__(self, folder: Path, *, files: frozenset[str], distribution_files: frozenset[str]) -> None:
        self._folder, self._files, self._distribution = folder, files, distribution_files
        self._variables: dict[str, str] = {"potential_dir": FOLDER}

    def commands(self, path: Path, *, depth: int) -> Iterator[str]:
        if depth > _DEEPEST_INCLUDE:
            raise PotentialError(f"{path}: includes more than {_DEEPEST_INCLUDE} deep; does it include itself?")
        for command in read_commands(path):
            name, *arguments = self._replaced(command)
            if name == "variable":
                self._define(arguments, place=command.place)
            elif name == "include":
                yield from self.commands(self._included(arguments, place=command.place), depth=depth + 1)
            else:
                if name == "pair_style" and (acts := set(_without_suffixes(arguments)) & set(ACTING_STYLES)):
                    raise PotentialError(
                        f"{command.place}: `pair_style {acts.pop()}` runs what its files hold; "
                        "a potential must be data: use a style that reads coefficients"
                    )
                yield " ".join([name, *(self._settled(word, place=command.place) for word in arguments)])

    def _replaced(self, command: Command) -> list[str]:
        """Return the words of a command with the variables in them replaced; formulas stay as they are."""

        def value(found: re.Match[str]) -> str:
            name = found["long"] or found["short"]
            if name not in self._variables:
                raise PotentialError(f"{command.place}: the variable `{name}` is not defined before")
            return self._variables[name]

        words = [
            word if k in command.verbatim else _VARIABLE.sub(value, word) for k, word in enumerate(command.words)
        ]
        for k, word in enumerate(words):
            bare = word.removeprefix(FOLDER) if k not in command.verbatim else word
            if not _WORD.fullmatch(bare or "."):
                raise PotentialError(
                    f"{command.place}: `{word[:60]}` holds characters that a potential may not use "
                    "(blanks, quotes, `$(...)`, letters beyond ASCII); write plain words and file names"
                )
        return words

    def _define(self, words: list[str], *, place: str) -> None:
        """Keep a variable; as in LAMMPS, the first definition of an `index` holds."""
        if len(words) < 3 or words[1] not in VARIABLE_STYLES:
            style = words[1] if len(words) > 1 else ""
            raise PotentialError(
                f"{place}: `variable {words[0] if words else ''} {style}`: a potential may define variables of "
                f"the styles {', '.join(VARIABLE_STYLES)}, with a value"
            )
        name, style, value = words[:3]
        if name == "potential_dir":
            return  # known: the folder itself
        if style == "index":
            self._variables.setdefault(name, value)
        elif name in self._variables:
            # LAMMPS works formulas out when they are used; with one definition that is the same.
            raise PotentialError(f"{place}: the variable `{name}` is defined twice; give the second another name")
        elif style == "string":
            self._variables[name] = value
        else:
            self._variables[name] = f"{arithmetic(value, self._variables, place=place):.15g}"

    def _included(self, words: list[str], *, place: str) -> Path:
        name = words[0].removeprefix(f"{FOLDER}/") if len(words) == 1 else ""
        if name not in self._files:
            raise PotentialError(
                f"{place}: `include {' '.join(words)}` names no file of [files]; "
                "a potential includes files of its own folder"
            )
        return self._folder / name

    def _settled(self, word: str, *, place: str) -> str:
        """Return a word as LAMMPS is to read it, a file with its folder.

        LAMMPS itself looks for a bare file name in the current directory first, where anything may lie.
        """
        name = word.removeprefix(f"{FOLDER}/")
        if name in self._files and (name != word or "." in name):
            return f"{FOLDER}/{name}"
        if word in self._distribution:
            return f"{DISTRIBUTION}/{word}"
        is_path = FOLDER in word or word[0] in "/~." or (self._folder / word).is_file()
        has_ending = "." in word and FILE_NAME.fullmatch(word) and not _NUMBER.fullmatch(word)
        if is_path or has_ending:
            raise PotentialError(
                f"{place}: `{name}` is no file of the potential, neither beside it nor of LAMMPS: check the name; "
                "in a potential.toml it stands in [files], or in [distribution_files] if it comes with LAMMPS"
            )
        return word


def _without_suffixes(words: list[str]) -> list[str]:
    """Return styles without those of accelerators: `mliap/kk` is `mliap`."""
    return [word.split("/")[0] for word in words]


_OPERATIONS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: Mapping[str, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "exp": math.exp,
    "ln": math.log,
    "log": math.log10,
    "abs": abs,
}


def arithmetic(formula: str, variables: Mapping[str, str], *, place: str) -> float:
    """Return the value of a formula of numbers, `v_name`, + - * /, brackets and a few functions.

    Raises
    ------
    PotentialError
        If there is anything else in it, or it has no value.

    Examples
    --------
    >>> arithmetic("2*(v_a-1)+sqrt(4)", {"a": "3"}, place="here")
    6.0
    """

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id="PI"):
                return math.pi
            case ast.Name(id=name) if name.startswith("v_") and name[2:] in variables:
                return float(variables[name[2:]])
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
                return _OPERATIONS[type(op)](value(left), value(right))
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -value(inner)
            case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]) if name in _FUNCTIONS:
                return _FUNCTIONS[name](value(inner))
        raise ValueError("only numbers, v_name, + - * /, brackets, sqrt, exp, ln, log and abs")

    try:
        return value(ast.parse(formula, mode="eval").body)  # of Python only the grammar is used
    except (ValueError, SyntaxError, ArithmeticError, RecursionError, MemoryError) as error:
        raise PotentialError(
            f"{place}: `{formula[:60]}` is no formula that a potential may use ({error})"
        ) from None
