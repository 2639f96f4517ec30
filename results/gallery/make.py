"""Make ``chain.png``, the picture in the README, from the results of ``make demo``.

python results/gallery/make.py
"""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import imread

from dslite import paths, plots

TILES = (  # file of results/demo, title, rows and column in a grid of 3 x 2
    ("figures/shap_confident.png", "6  what the model listens to", (slice(0, 3), 0)),
    ("spectrogram.png", "2  one chunk in six steps", (0, 1)),
    ("ablation.png", "4  ablation", (1, 1)),
    ("figures/confusion_test.png", "6  confusion on test", (2, 1)),
)


def main() -> None:
    """Lay four of the demo's pictures beside each other."""
    figure = Figure(figsize=(11, 8.2), layout="constrained", facecolor="white")
    grid = figure.add_gridspec(3, 2, height_ratios=(1, 1.2, 1.9), width_ratios=(1.15, 1))
    for name, title, place in TILES:
        axes = figure.add_subplot(grid[place])
        axes.imshow(imread(paths.results("demo") / name), interpolation="lanczos")
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_anchor("NW")
        axes.set_axis_off()
    file = Path(__file__).with_name("chain.png")
    figure.savefig(file, dpi=110)
    file.write_bytes(plots.reduced(file))


if __name__ == "__main__":
    main()
