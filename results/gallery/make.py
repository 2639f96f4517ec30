"""Make ``chain.png``, the picture in the README, from the results of ``make demo``.

python results/gallery/make.py
"""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import imread

from dslite import paths, plots

TILES = (  # file of results/demo, title, place in a grid of 2 x 12
    ("spectrogram.png", "2  one chunk, five colour maps", (0, slice(0, 7))),
    ("ablation.png", "4  ablation", (0, slice(7, 12))),
    ("shap.png", "6  what the model listens to", (1, slice(0, 7))),
    ("confusion_test.png", "6  confusion on test", (1, slice(7, 12))),
)


def main() -> None:
    """Lay four of the demo's pictures beside each other."""
    figure = Figure(figsize=(11, 8.6), layout="constrained", facecolor="white")
    grid = figure.add_gridspec(2, 12, height_ratios=(1, 2.4))
    for name, title, (row, columns) in TILES:
        axes = figure.add_subplot(grid[row, columns])
        axes.imshow(imread(paths.results("demo") / name), interpolation="lanczos")
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_axis_off()
    plots.save(figure, Path(__file__).with_name("chain.png"))


if __name__ == "__main__":
    main()
