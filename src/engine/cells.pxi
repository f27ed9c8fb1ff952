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
            "h_order": [c.h_order[i] for i in range(blocks)], "stages": stages}
