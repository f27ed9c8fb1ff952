# The cells that the kernels know: the rows of the table in src/kernels/table.h.


cdef const rc_cell *find_cell(const rc_kernels *k, bytes name) except NULL:
    cdef const rc_cell *cell = k.cells
    while cell.name != NULL:
        if cell.name == name:
            return cell
        cell += 1
    raise ValueError(f"cell: got {name.decode()!r}, expected one of {', '.join(map(repr, cell_names()))}")


cdef inline int slot_of(const rc_cell *cell, bint of_h, int g) noexcept nogil:
    """The slot of the g-th matrix of the product with the input (of_h: of the products with the state)."""
    cdef int first = cell.stage[0].groups
    if not of_h:
        return cell.x_slot + g
    return cell.stage[0].slot + g if g < first else cell.stage[1].slot + g - first


cdef inline int block_of(const rc_cell *cell, bint of_h, int g) noexcept nogil:
    """The block of torch's weight matrix and bias that is this g-th matrix."""
    return cell.h_order[g] if of_h else cell.x_order[g]


ACTIVATIONS = {         # the names of the activations of variants, and the numbers of their kinds
    "sigmoid": RC_SIGMOID, "tanh": RC_TANH, "relu": RC_RELU, "affine": RC_AFFINE, "leakyrelu": RC_LEAKY_RELU,
    "thresholdedrelu": RC_THRESHOLDED_RELU, "scaledtanh": RC_SCALED_TANH, "hardsigmoid": RC_HARD_SIGMOID,
    "elu": RC_ELU, "softsign": RC_SOFTSIGN, "softplus": RC_SOFTPLUS,
}

PEEPHOLES = RC_PEEPHOLES        # how many gates have them


cdef rc_cell cell_of_variants(const rc_cell *cell) except *:
    """A cell whose stages have the equations of its variants."""
    cdef rc_cell found = cell[0]
    cdef int s
    for s in range(cell.stages):
        if cell.stage[s].variant_forward == NULL:
            raise ValueError(f"cell: got a variant of {cell.name.decode()!r}, expected a cell that has variants")
        found.stage[s].forward, found.stage[s].backward = cell.stage[s].variant_forward, cell.stage[s].variant_backward
    return found


cdef rc_variant take_variant(variant) except *:
    """A variant from what Python describes it by: (activations, gate_clip, cell_clip, coupled).

    activations is a tuple of (name, alpha, beta).
    """
    cdef rc_variant v
    cdef int n
    memset(&v, 0, sizeof(v))
    activations, v.gate_clip, v.cell_clip, v.coupled = variant
    for n, each in enumerate(activations):
        v.activation[n] = take_activation(each)
    return v


cdef rc_activation take_activation(activation) except *:
    cdef rc_activation f
    name, f.alpha, f.beta = activation
    f.kind = ACTIVATIONS[name]
    return f


def cell_names():
    """The names of all cells in the table."""
    cdef const rc_cell *c = rc_kernels_for(chosen_isa, 32).cells
    names = []
    while c.name != NULL:
        names.append(c.name.decode())
        c += 1
    return names


def cell_info(str name):
    """A row of the table as a dict, by the names of its fields in kernels.h."""
    cdef const rc_cell *c = find_cell(rc_kernels_for(chosen_isa, 32), name.encode())
    cdef const rc_stage *stage
    cdef int i, blocks = 0
    stages = []
    for i in range(c.stages):
        stage = &c.stage[i]
        stages.append({"slot": stage.slot, "groups": stage.groups, "from_aux": bool(stage.from_aux)})
        blocks += stage.groups
    return {"blocks": c.blocks, "slots": c.slots, "slots_on_tape": bool(c.slots_on_tape), "states": c.states,
            "x_slot": c.x_slot, "x_order": [c.x_order[i] for i in range(c.blocks)],
            "h_order": [c.h_order[i] for i in range(blocks)], "stages": stages,
            "variants": c.stage[0].variant_forward != NULL}


def activation(name, x, out):
    """The kernels' "sigmoid" or "tanh" of a contiguous array, or a (name, alpha, beta) of variants; out has its type."""
    cdef Array a, b
    cdef rc_activation f
    cdef Py_buffer view
    cdef const rc_kernels *k
    PyObject_GetBuffer(x, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    cdef idx n = view.len // view.itemsize
    k = rc_kernels_for(chosen_isa, <int>view.itemsize * 8)
    PyBuffer_Release(&view)
    take(x, &a, 0)
    take(out, &b, 0)
    if isinstance(name, tuple):
        f = take_activation(name)
        k.activation(&f, a.p, b.p, n)
    else:
        (k.tanh if name == "tanh" else k.sigmoid)(a.p, b.p, n)
