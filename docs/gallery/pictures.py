"""Every plot of the debugger, each for both trained networks."""

import textwrap

from rnncore.viz.plots._figure import PAGE, text_scale

from rnncore import viz


def numbered(net):
    """The tokens, with a dot for each that is empty."""
    return net.tokens if all(net.tokens) else [t or "·" for t in net.tokens]


def last_token(net):
    return max(step for step, token in enumerate(net.tokens) if token)


# For each plot: draw(net, ax), and the height of one panel in inches.
PANELS = {
    "plot_states": (lambda net, ax: viz.plot_states(net.tape, ax, tokens=net.tokens), 3.0),
    "plot_gates": (lambda net, ax: viz.plot_gates(net.tape, ax, tokens=net.tokens), 4.0),
    "plot_gradient_map": (
        lambda net, ax: viz.plot_gradient_map(net.tape, ax, tokens=net.tokens), 4.5),
    "plot_gradient_flow": (
        lambda net, ax: viz.plot_gradient_flow(
            net.tape, ax, row=0, tokens=net.tokens), 3.0),
    "plot_jacobian_norms": (
        lambda net, ax: (
            viz.plot_jacobian_norms(net.before, ax, label="before training"),
            viz.plot_jacobian_norms(net.tape, ax, label="after training"),
        ), 3.4),
    "plot_singular_values": (lambda net, ax: viz.plot_singular_values(net.tape, ax, n=6), 3.2),
    "plot_horizon": (lambda net, ax: viz.plot_horizon(net.tape, ax), 3.0),
    "plot_norm_preservation": (
        lambda net, ax: viz.plot_norm_preservation(
            net.tape, ax, row=0, tokens=net.tokens), 2.6),
    "plot_step_share": (
        lambda net, ax: viz.plot_step_share(net.tape, ax, row=0, tokens=net.tokens), 3.2),
    "plot_dependency_map": (
        lambda net, ax: viz.plot_dependency_map(
            net.tape, ax, loss=net.step_gradient, tokens=net.tokens), 5.5),
    "plot_connectivity": (
        lambda net, ax: viz.plot_connectivity(
            viz.connectivity(net.tape, net.logit), ax, step=len(net.x) - 1, tokens=numbered(net),
            readout=net.logit_name), 2.2),
    "plot_integrated_gradients": (
        lambda net, ax: viz.plot_integrated_gradients(
            viz.integrated_gradients(net.layer, net.x, net.readout), ax, tokens=net.tokens,
            readout=net.readout_name, baseline="0"), 3.4),
    "plot_omission": (
        lambda net, ax: viz.plot_omission(
            viz.omission(net.layer, net.x), ax, tokens=net.tokens), 3.2),
    "plot_context_cut": (
        lambda net, ax: viz.plot_context_cut(
            viz.context_cut(net.layer, net.windows, net.last_loss), ax), 3.0),
    "plot_timescales": (
        lambda net, ax: (
            viz.plot_timescales(net.before, ax, label="before training"),
            viz.plot_timescales(net.tape, ax, label="after training"),
        ), 3.2),
    "plot_saturation": (lambda net, ax: viz.plot_saturation(net.tape, ax), 4.0),
    "plot_lyapunov_spectrum": (
        lambda net, ax: viz.plot_lyapunov_spectrum(
            spectrum(net)[0], ax, error=spectrum(net)[1]), 3.0),
    "plot_lyapunov_convergence": (
        lambda net, ax: viz.plot_lyapunov_convergence(
            viz.lyapunov_convergence(net.layer, net.x, 10), ax), 3.0),
    "plot_mean_field": (
        lambda net, ax: (
            viz.plot_mean_field(net.before, ax, label="before training"),
            viz.plot_mean_field(net.tape, ax, label="after training"),
        ), 2.4),
    "plot_memory_capacity": (
        lambda net, ax: viz.plot_memory_capacity(
            viz.memory_curve(net.layer, 40, steps=1000), ax, steps=1000), 3.0),
    "plot_cell": (lambda net, ax: viz.plot_cell(
        net.tape, ax, step=last_token(net), token=net.tokens[last_token(net)]), 4.2),
    "plot_unrolled": (lambda net, ax: viz.plot_unrolled(net.tape, ax, tokens=net.tokens), 3.0),
    "plot_text": (
        lambda net, ax: viz.plot_text(
            norm_by_step(net), ax, tokens=numbered(net), scale="magnitude",
            label="‖∂L/∂hₜ‖"), 2.2),
}  # fmt: skip


SQUARE = ("plot_saturation",)  # the two networks side by side, not one below the other


def spectrum(net):
    """The exponents and their errors."""
    convergence = viz.lyapunov_convergence(net.layer, net.x, 10)
    return convergence[1][-1], viz.lyapunov_error(convergence)


def norm_by_step(net):
    return viz.gradient_flow(net.tape)["l0.h"][:, 0]


def recorded(net):
    """The series that a recorder measured while the network was trained."""
    import matplotlib.pyplot as plt

    with viz.style.context():
        size = (8 * text_scale(), 2.4 * text_scale() * len(net.series))
        figure, axes = plt.subplots(len(net.series), 1, sharex=True, squeeze=False, figsize=size)
        for name, ax in zip(net.series, axes[:, 0], strict=True):
            viz.plot_series(net.series[name], ax, name=name)
            ax.set_xlabel("update" if ax is axes[-1, 0] else "")
            ax.set_ylabel("\n".join(textwrap.wrap(ax.get_ylabel(), 22)))
    return figure


# Plots that make a whole figure.
FIGURES = {
    "overview": lambda net: viz.overview(net.tape, tokens=net.tokens, title=net.name),
    "plot_timeline": lambda net: viz.plot_timeline(net.tape, tokens=net.tokens, title=net.name),
    "side_by_side": lambda net: viz.side_by_side(
        {"before training": net.before, "after training": net.tape}, viz.plot_gates, names=["l0.f", "l0.i"]
    ),
    "plot_series": recorded,
}


def drawn():
    """The names of all plots that the gallery draws."""
    return [*PANELS, *FIGURES]


def panels(name, nets):
    """One figure with the same plot for every network, one below the other."""
    import matplotlib.pyplot as plt

    draw, height = PANELS[name]
    rows, columns = (1, len(nets)) if name in SQUARE else (len(nets), 1)
    with viz.style.context():
        scale = text_scale()
        figure, axes = plt.subplots(rows, columns, figsize=(10 * scale, rows * height * scale), squeeze=False)
        for net, ax in zip(nets, axes.flat, strict=True):
            draw(net, ax)
            said = ax.get_title().replace("unexplained: ", "unexplained:\N{NO-BREAK SPACE}")
            said = textwrap.fill(said, int((44 if name in SQUARE else 106) * scale * PAGE / plt.rcParams["font.size"]))
            ax.set_title(f"{net.name}" + (f"\n{said}" if said else ""), loc="left")
            if said:
                ax.set_title("")
    return figure


def pictures(nets):
    """(name, figure) for each figure; the keys of `nets` end the names of the figures of one network."""
    for name in PANELS:
        yield name.removeprefix("plot_"), panels(name, list(nets.values()))
    for name, draw in FIGURES.items():
        for key, net in nets.items():
            yield f"{name.removeprefix('plot_')}_{key}", draw(net)
