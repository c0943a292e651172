"""Every panel can be drawn into axes that one has: functions `draw_*` take them and return them."""

import ast
import inspect
from pathlib import Path

import pytest

from cascade_driver import plot

#: Helpers for curves and points, which are given their axes as the first thing.
NO_PANELS = {"draw_curve", "draw_points"}

SOURCES = sorted(Path(inspect.getfile(plot)).parent.glob("*.py"))


def functions(source):
    return [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]


def not_as_axes(source):
    """Functions `draw_*` that take no axes, or return something else."""
    found = []
    for one in functions(source):
        if not one.name.startswith("draw_") or one.name in NO_PANELS:
            continue
        takes = {argument.arg for argument in (*one.args.args, *one.args.kwonlyargs)}
        if "ax" not in takes or ast.unparse(one.returns or ast.Constant("")) not in {"Axes", "Any"}:
            found.append(one.name)
    return found


def drawn_in_place(source):
    """Functions `*_figure` that make one panel and draw it themselves, so that nobody else can have it."""
    found = []
    for one in functions(source):
        given = {id(k.value) for node in ast.walk(one) if isinstance(node, ast.Call) for k in node.keywords}
        if one.name.endswith("_figure") and any(
            ast.unparse(node) == "figure.subplots()" and id(node) not in given for node in ast.walk(one)
        ):
            found.append(one.name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_panels_take_axes_and_whole_figures_are_made_of_them(path):
    assert not_as_axes(path.read_text()) == []
    assert drawn_in_place(path.read_text()) == []


def test_a_panel_without_axes_would_be_found():
    assert not_as_axes("def draw_it(table):\n    ...\ndef draw_that(*, ax) -> Axes: ...\n") == ["draw_it"]
    assert drawn_in_place("def a_figure():\n    axes = figure.subplots()\n") == ["a_figure"]
    assert drawn_in_place("def a_figure():\n    draw_it(ax=figure.subplots())\n") == []
