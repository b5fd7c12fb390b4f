"""Table and figure of linear gradient flow, drawn from what stands in its results.json."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.figure import FONTS, GREY, INK
from experiments import output
from jaxrnn.files import markdown_table

STYLES = {  # colour, dashes, marker
    "orthogonal": ("#009E73", (0, (5, 1.5)), "P"),
    "Gaussian": ("#0072B2", "-", "o"),
    "triangular": ("#882255", (0, (3, 2)), "^"),
    "shear": ("#D55E00", "-", "s"),
    "saturated": ("#222222", (0, (6, 1.5, 1, 1.5)), "D"),
}
HEADINGS = (
    "matrix",
    "spectral radius",
    "largest singular value",
    "departure from normality",
    "peak",
    "at the last lag",
)


def to_markdown(results: dict[str, Any]) -> str:
    """The table, with what it says."""
    rows = []
    for name, part in results["parts"].items():
        radius = np.linalg.norm(np.array(part["eigenvalues"]), axis=-1).max()
        lag, peak = part["peak"]
        last = part["largest"][-1]
        rows.append(
            (
                name, f"{radius:.4f}", f"{part['singular_values'][0]:.3f}", f"{part['departure']:.3f}",
                f"{peak:.5g} at lag {lag}", f"{10**last:.4g}" if last < 6 else f"10^{last:.1f}",
            )
        )  # fmt: skip
    words = (
        f"Norms of W^lag up to lag {results['settings']['lags']}; orthogonal, Gaussian and triangular of "
        f"{results['settings']['size']} rows. Shear is [[0.9, 10], [0, 0.9]], known to peak at 38.746, lag 9, with "
        "0.02951 at lag 100; saturated is [[8, 6], [-8, -6]], the Jacobian at a fixed point of a "
        "tanh network whose matrix has no eigenvalue but 0, and whose norm is 14.142 times 2^(lag - 1). Departure: "
        "Henrici's, over the Frobenius norm, 0 for a normal matrix."
    )
    return f"{markdown_table(HEADINGS, rows)}\n{words}\n"


@matplotlib.rc_context(FONTS)
def draw(results: dict[str, Any]) -> Figure:
    """Left: eigenvalues in the plane. Middle: norms and what eigenvalues promise. Right: a random direction."""
    figure = output.titled(
        "Eigenvalues rule in the end, singular values at every lag",
        (
            "Gradients of the linear network $h' = W h$ travel by powers of $W$. Thin dotted lines: what the spectral "
            "radius promises.",
            "Triangular, shear and saturated are far from normal: their eigenvectors nearly coincide, and the norm "
            "grows first.",
        ),
    )
    plane = output.panel(figure, (0.06, 0.13, 0.25, 0.6), "Eigenvalues", "real part")
    plane.set_ylabel("imaginary part")
    turn = np.linspace(0, 2 * np.pi, 200)
    plane.plot(np.cos(turn), np.sin(turn), color=GREY, lw=1)
    plane.set_xlim(-2.2, 2.2)
    plane.set_aspect("equal", adjustable="datalim")
    norms = output.panel(figure, (0.39, 0.13, 0.27, 0.6), r"$\Vert W^k\Vert$, the worst direction", "lag $k$")
    random = output.panel(figure, (0.73, 0.13, 0.25, 0.6), "Root mean square, a random one", "lag $k$")
    for axes in (norms, random):
        axes.set_ylabel("log10")
        axes.set_ylim(-6, 6)
    for name, part in results["parts"].items():
        colour, dashes, marker = STYLES[name]
        values = np.array(part["eigenvalues"], np.float64)
        plane.plot(values[:, 0], values[:, 1], marker, color=colour, ms=6, alpha=0.75, mec="white", mew=0.4)
        for axes, curve in ((norms, "largest"), (random, "root_mean_square")):
            heights = np.array(part[curve], np.float64)
            marks = {"marker": marker, "ms": 7, "markevery": max(len(heights) // 8, 1)}
            axes.plot(heights, color=colour, ls=dashes, lw=2.2, label=name if axes is norms else None, **marks)
        norms.plot(np.array(part["radius"], np.float64), color=colour, ls=":", lw=1.1)
        norms.axhline(0, color=INK, lw=0.6)
    handles, labels = norms.get_legend_handles_labels()
    figure.legend(handles, labels, loc="center", bbox_to_anchor=(0.66, 0.8), ncols=5, frameon=False, fontsize=11.5)
    return figure
