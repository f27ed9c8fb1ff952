"""What is drawn on axes: lines, legends and texts, by the group that a plot gives them."""

import numpy as np


def lines(ax, kind):
    return [line for line in ax.lines if line.get_gid() == kind]


def y_of(line):
    return np.asarray(line.get_ydata(), float)


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def texts(ax, gid):
    return [text.get_text() for text in ax.texts if text.get_gid() == gid]
