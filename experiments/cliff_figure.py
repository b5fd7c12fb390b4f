"""Table and figure of the cliff, drawn from what stands in its results.json."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.figure import FONTS, GREY, INK
from experiments import output
from jaxrnn.files import markdown_table

THRESHOLD = 0.1  # the norm that gradients are clipped to
PATHS = (("plain", "plain descent", "#D55E00", "o"), ("clipped", f"clipped to norm {THRESHOLD:g}", "#0072B2", "s"))


def to_markdown(results: dict[str, Any]) -> str:
    """The table, with what it says."""
    exact = results["parts"]["exact"]
    rows = [(name, f"{value:.6g}", f"{exact['computed'][name]:.6g}") for name, value in exact["closed"].items()]
    ends = []
    for name, label, _, _ in PATHS:
        part = results["parts"][name]
        steepest, (w, b) = max(norm for norm, _, _ in part["clipping"]), part["path"][-1]
        ends.append(
            f"{label}: largest gradient {steepest:.3g}, last error {part['error'][-1]:.4f} at ({w:.2f}, {b:.2f})"
        )
    words = (
        f"At w = 5 and b = {exact['border']:.7f}, where the start is a repelling fixed point of multiplier "
        f"{exact['multiplier']:.7f}; closed form beside automatic differentiation through 50 steps. Curvature along b "
        f"there: {exact['curvature_along_b']:.4g}. {'; '.join(ends)}."
    )
    return f"{markdown_table(('quantity', 'closed form', 'computed'), rows)}\n{words}\n"


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: the surface in perspective. Middle: from above, with both descents. Right: the gradient along the cut."""
    parts = results["parts"]
    surface = {name: np.array(values, np.float64) for name, values in parts["surface"].items()}
    figure = output.titled(
        "The cliff in the error surface of one unit",
        (
            r"$x \leftarrow w\,\sigma(x) + b$, 50 times from 0.5; $E = (\sigma(x_{50}) - 0.7)^2$, as in Pascanu, "
            "Mikolov & Bengio (2013).",
            "Both descents begin at the star with the same learning rate. The wall throws the plain one out of sight.",
        ),
    )
    solid = figure.add_axes((0.03, 0.08, 0.31, 0.7), projection="3d")
    grid = np.meshgrid(surface["weights"], surface["biases"], indexing="ij")
    looks = {"cmap": "cividis", "rcount": 54, "ccount": 54, "lw": 0.2, "edgecolor": "#777777"}
    # As an image inside the SVG too, which thousands of facets would make three times as large.
    solid.plot_surface(*grid, surface["error"], rasterized=True, **looks)  # pyright: ignore[reportAttributeAccessIssue]
    solid.set(xlabel="w", ylabel="b", zlabel="E")
    solid.view_init(32, -128)  # pyright: ignore[reportAttributeAccessIssue]
    above = output.panel(figure, (0.41, 0.13, 0.24, 0.6), "Two descents", "w")
    above.set_ylabel("b")
    filled = above.contourf(surface["weights"], surface["biases"], surface["error"].T, 24, cmap="cividis")
    figure.colorbar(filled, ax=above, label="E", ticks=[0, 0.1, 0.2, 0.3, 0.4])
    for name, label, colour, marker in PATHS:
        path = np.array(parts[name]["path"], np.float64)
        marks = {"marker": marker, "ms": 6, "markevery": 12, "mec": "white", "mew": 0.6}
        above.plot(path[:, 0], path[:, 1], color=colour, lw=2.4 if name == "plain" else 1.6, label=label, **marks)
    above.plot(*parts["plain"]["path"][0], "*", color="white", mec=INK, ms=16)
    above.set(xlim=surface["weights"][[0, -1]], ylim=surface["biases"][[0, -1]])
    above.legend(loc="lower left", fontsize=10.5, framealpha=0.9)
    cut = output.panel(figure, (0.745, 0.13, 0.235, 0.6), r"$\Vert\nabla E\Vert$ for $w$ = 5", "b")
    row = int(np.argmin(np.abs(surface["weights"] - 5)))
    cut.semilogy(surface["biases"], surface["gradient"][row], color=INK, lw=1.8)
    cut.axvline(parts["exact"]["border"], color=GREY, ls="--", lw=1.2)
    cut.set(xlim=surface["biases"][[0, -1]])
    figure.text(0.745, 0.03, "Dashed: the border between the attractors.", fontsize=11, color=GREY)
    return figure
