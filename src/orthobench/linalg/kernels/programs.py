"""The programs that a GPU runs, in Triton's language. Importing this module needs Triton.

Each program computes one tile of one matrix of the batch. Loads of rows past the end wrap around, so that the loops
over the inner dimension need no mask for them; what they give is not stored.
"""

import triton
import triton.language as tl


@triton.jit
def _upper_tile(index):
    """Return the row and the column of a tile of the upper triangle, which are counted column by column."""
    column = ((tl.sqrt(8.0 * index + 1.0) - 1.0) / 2.0).to(tl.int32)
    # The root is rounded.
    column = tl.where(column * (column + 1) // 2 > index, column - 1, column)
    column = tl.where((column + 1) * (column + 2) // 2 <= index, column + 1, column)
    return index - column * (column + 1) // 2, column


@triton.jit
def symmetric_product(
    X, A, out, sums, m, n, alpha, beta, tiles,
    X_batch, X_row, X_column, A_batch, A_row, A_column, out_batch, out_row, out_column,
    ADD: tl.constexpr, SUM: tl.constexpr, EVEN: tl.constexpr, BLOCK: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    """Compute out = alpha X X^T + beta A, A symmetric: the tiles of the upper triangle, each written twice.

    Of sums (batch, tiles, m), entry (i, j) is the sum of |out| over the i-th tile's columns in row j.
    """
    count = tiles * (tiles + 1) // 2
    batch = (tl.program_id(0) // count).to(tl.int64)
    tile_row, tile_column = _upper_tile(tl.program_id(0) % count)
    rows = tile_row * BLOCK + tl.arange(0, BLOCK)
    columns = tile_column * BLOCK + tl.arange(0, BLOCK)

    inner = tl.arange(0, INNER)
    X += batch * X_batch
    left = X + (rows % m)[:, None] * X_row + inner[None, :] * X_column
    right = X + inner[:, None] * X_column + (columns % m)[None, :] * X_row
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, n, INNER):
        if EVEN:
            a, b = tl.load(left), tl.load(right)
        else:
            a = tl.load(left, mask=inner[None, :] < n - start, other=0.0)
            b = tl.load(right, mask=inner[:, None] < n - start, other=0.0)
        total = tl.dot(a, b, total, input_precision="ieee")
        left += INNER * X_column
        right += INNER * X_column

    total *= alpha
    inside = (rows < m)[:, None] & (columns < m)[None, :]
    if ADD:
        entries = A + batch * A_batch + rows[:, None] * A_row + columns[None, :] * A_column
        total += beta * tl.load(entries, mask=inside, other=0.0).to(tl.float32)
    if SUM:
        sizes = tl.where(inside, tl.abs(total), 0.0)
        sums += batch * tiles * m
        tl.store(sums + tile_column * m + rows, tl.sum(sizes, axis=1), mask=rows < m)
        if tile_row != tile_column:
            tl.store(sums + tile_row * m + columns, tl.sum(sizes, axis=0), mask=columns < m)

    # Of a tile on the diagonal, too, only the upper triangle is taken: the result is symmetric to the last bit.
    result = total.to(out.dtype.element_ty)
    out += batch * out_batch
    upper = inside & (rows[:, None] <= columns[None, :])
    tl.store(out + rows[:, None] * out_row + columns[None, :] * out_column, result, mask=upper)
    below = (columns < m)[:, None] & (rows < m)[None, :] & (columns[:, None] > rows[None, :])
    tl.store(out + columns[:, None] * out_row + rows[None, :] * out_column, tl.trans(result), mask=below)


@triton.jit
def add_product(
    W, X, out, m, n, beta, tile_rows, tile_columns,
    W_batch, W_row, W_column, X_batch, X_row, X_column, out_batch, out_row, out_column,
    EVEN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """Compute out = beta X + W X for W (m, m) and X (m, n)."""
    count = tile_rows * tile_columns
    batch = (tl.program_id(0) // count).to(tl.int64)
    index = tl.program_id(0) % count
    # Neighbours in time share rows of W and columns of X: GROUP rows of tiles, column by column.
    first = index // (GROUP * tile_columns) * GROUP
    height = min(tile_rows - first, GROUP)
    tile_row = first + index % (GROUP * tile_columns) % height
    tile_column = index % (GROUP * tile_columns) // height
    rows = tile_row * ROWS + tl.arange(0, ROWS)
    columns = tile_column * COLUMNS + tl.arange(0, COLUMNS)

    inner = tl.arange(0, INNER)
    X += batch * X_batch
    left = W + batch * W_batch + (rows % m)[:, None] * W_row + inner[None, :] * W_column
    right = X + inner[:, None] * X_row + (columns % n)[None, :] * X_column
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for start in range(0, m, INNER):
        if EVEN:
            a, b = tl.load(left), tl.load(right)
        else:
            a = tl.load(left, mask=inner[None, :] < m - start, other=0.0)
            b = tl.load(right, mask=inner[:, None] < m - start, other=0.0)
        total = tl.dot(a, b, total, input_precision="ieee")
        left += INNER * W_column
        right += INNER * X_row

    inside = (rows < m)[:, None] & (columns < n)[None, :]
    entries = X + rows[:, None] * X_row + columns[None, :] * X_column
    total += beta * tl.load(entries, mask=inside, other=0.0).to(tl.float32)
    entries = out + batch * out_batch + rows[:, None] * out_row + columns[None, :] * out_column
    tl.store(entries, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _scales(sums, indices, m, count, divisor):
    """Return (row sum)^(-1/2) / divisor of the rows, 1 where the sum is 0; the same bits in every program."""
    total = tl.zeros(indices.shape, dtype=tl.float32)
    for part in range(count):
        total += tl.load(sums + part * m + indices, mask=indices < m, other=0.0)
    return tl.where(total == 0, 1.0, tl.div_rn(1.0, tl.sqrt_rn(total)) / divisor)


@triton.jit
def scale_rows(
    X, A, sums, m, n, count, divisor,
    X_batch, X_row, X_column, A_batch, A_row, A_column,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Replace X (m, n) by D X and A (m, m) by D A D, for the D of `_scales`."""
    tile_rows, tiles_A, tiles_X = tl.cdiv(m, ROWS), tl.cdiv(m, COLUMNS), tl.cdiv(n, COLUMNS)
    tile_column = tl.program_id(0) % (tiles_A + tiles_X)
    index = tl.program_id(0) // (tiles_A + tiles_X)
    batch = (index // tile_rows).to(tl.int64)
    sums += batch * count * m
    rows = index % tile_rows * ROWS + tl.arange(0, ROWS)
    scales = _scales(sums, rows, m, count, divisor)[:, None]
    if tile_column < tiles_A:
        columns = tile_column * COLUMNS + tl.arange(0, COLUMNS)
        others = _scales(sums, columns, m, count, divisor)[None, :]
        entries = A + batch * A_batch + rows[:, None] * A_row + columns[None, :] * A_column
        inside = (rows < m)[:, None] & (columns < m)[None, :]
        values = tl.load(entries, mask=inside, other=0.0).to(tl.float32)
        # In an order that leaves it symmetric; their product alone may overflow.
        values = values * tl.maximum(scales, others) * tl.minimum(scales, others)
        tl.store(entries, values.to(A.dtype.element_ty), mask=inside)
    else:
        columns = (tile_column - tiles_A) * COLUMNS + tl.arange(0, COLUMNS)
        entries = X + batch * X_batch + rows[:, None] * X_row + columns[None, :] * X_column
        inside = (rows < m)[:, None] & (columns < n)[None, :]
        values = tl.load(entries, mask=inside, other=0.0).to(tl.float32)
        tl.store(entries, (values * scales).to(X.dtype.element_ty), mask=inside)
