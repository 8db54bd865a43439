"""Bounds of a ReLU network's logits within a ball: by intervals, and by CROWN's linear relaxations."""

import math

import torch

from .stages import stages_of

METHODS = ("interval", "crown", "crown_interval")
# The norm that measures a row of coefficients where inputs are measured in another.
_DUALS = {"l2": 2, "linf": 1}
# Numbers in one block of coefficients: what bounds the memory, of several such blocks.
_NUMBERS_AT_ONCE = 2**22


class BoundedNetwork:
    """Lower bounds of linear functions of a ReLU network's logits, for all inputs within a ball.

    Parameters
    ----------
    model : torch.nn.Module
        As `stages_of` takes it. What is bounded is the network as it is now.
    input_shape : sequence of int
        Without the batch axis.
    radius : float
        Of the balls, at least 0.
    norm : {"l2", "linf"}
        Of the balls.
    method : {"crown", "interval", "crown_interval"}
        What bounds the inputs of the ReLUs and the result:

        - "interval": the interval of each from those of the layer before; the first layer's exactly;
        - "crown": linear functions of the network's input; what intervals do better is taken from them;
        - "crown_interval": intervals for the inputs of the ReLUs, linear functions for the result: for networks whose
          layers are too wide for "crown", whose cost is a pass for each unit.

    Raises
    ------
    ValueError
        If an argument is none of these, or the model has a layer that no bounds are known of.

    Notes
    -----
    Zhang, Weng, Chen, Hsieh and Daniel, "Efficient neural network robustness certification with general activation
    functions", NeurIPS 2018. A ReLU of an input in [l, u] with l < 0 < u is at most u (z - l) / (u - l) and at least z
    or 0, whichever leaves the smaller area: z where u >= -l. Coefficients go back through each affine layer by its
    transpose. Bounds are computed in the type of the model, and rounded as it is.
    """

    def __init__(self, model, input_shape, radius, norm="l2", method="crown"):
        for name, value, allowed in (("norm", norm, tuple(_DUALS)), ("method", method, METHODS)):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
        self.stages = stages_of(model, input_shape)
        self.radius, self.method, self._dual = float(radius), method, _DUALS[norm]
        self._first_radii = self.radius * self.stages[0].row_norms(self._dual)

    def lower_bounds(self, x, rows, boxes=None):
        """Return lower bounds (b, R) of A f(x') over the balls around inputs (b, ...), for rows A.

        Parameters
        ----------
        x : Tensor (b, ...)
        rows : Tensor (R, C) or (b, R, C)
            The same for all inputs, or each input's own.
        boxes : list, optional
            As :meth:`boxes` returns them, where they are known.

        Returns
        -------
        Tensor (b, R)
            Differentiable in x where there are gradients.
        """
        rows = rows.to(x.device, x.dtype)
        rows = rows if rows.ndim == 3 else rows[None]
        return self.lower_bounds_of(x, lambda some: rows[:, some], rows.shape[1], boxes)

    def lower_bounds_of(self, x, rows_of, count, boxes=None):
        """Return lower bounds (b, R) for rows that are made, a part at a time, when they are needed.

        Parameters
        ----------
        x, boxes
            As of :meth:`lower_bounds`.
        rows_of : callable
            ``rows_of(some)`` returns the rows (b or 1, r, C) of a slice of 0..R - 1, of the inputs' type and device.
        count : int
            R.
        """
        boxes = self.boxes(x) if boxes is None else boxes
        return self._back_in_parts(x, rows_of, count, len(self.stages) - 1, boxes)

    def boxes(self, x):
        """Return intervals (l, u) of the inputs of each ReLU over the balls around inputs (b, ...)."""
        boxes = []
        for index, stage in enumerate(self.stages[:-1]):
            if index == 0:
                middle, radii = stage.forward(x), self._first_radii
            else:
                low, high = (bound.clamp(min=0) for bound in boxes[-1])
                middle, radii = stage.forward((low + high) / 2), stage.radii((high - low) / 2)
            low, high = middle - radii, middle + radii
            if index and self.method == "crown":
                units = math.prod(stage.output_shape)
                found = self._back_in_parts(x, _both_signs(x, units), 2 * units, index, boxes).view(-1, 2, units)
                low = torch.maximum(low, found[:, 0].view_as(low))
                high = torch.minimum(high, -found[:, 1].view_as(high))
            boxes.append((low, high))
        return boxes

    def passes_per_input(self, rows):
        """Return the cost of bounds of a number of rows, for one input, in passes of one row through all stages."""
        stages = self.stages
        passes = 1.0 + rows * (1.0 if self.method != "interval" else 1 / len(stages))
        if self.method == "crown":
            hidden = enumerate(stages[1:-1], start=2)
            passes += sum(2 * math.prod(stage.output_shape) * depth / len(stages) for depth, stage in hidden)
        return passes

    def _back_in_parts(self, x, rows_of, count, last, boxes):
        widest = max(stage.widest for stage in self.stages[: last + 1])
        at_once = max(1, _NUMBERS_AT_ONCE // (len(x) * widest)) if len(x) else count
        parts = (slice(start, min(start + at_once, count)) for start in range(0, count, at_once))
        return torch.cat([self._back(x, rows_of(some), last, boxes) for some in parts], dim=1)

    def _back(self, x, rows, last, boxes):
        """Return lower bounds (b, R) of rows (b or 1, R, outputs of the stage `last`)."""
        rows = rows.reshape(*rows.shape[:2], *self.stages[last].output_shape)
        rows, constant = self._through_stage(rows, self.stages[last])
        found = None
        if last:
            # What intervals give: the rows on the box of the last ReLU's outputs.
            low, high = ((bound.clamp(min=0))[:, None] for bound in boxes[last - 1])
            found = constant + _total(rows.clamp(min=0) * low + rows.clamp(max=0) * high)
            if self.method == "interval":
                return found
        for index in range(last - 1, -1, -1):
            rows, shift = _through_relu(rows, *boxes[index])
            constant = constant + shift
            rows, shift = self._through_stage(rows, self.stages[index])
            constant = constant + shift
        bounds = constant + _total(rows * x[:, None]) - self.radius * rows.flatten(2).norm(self._dual, dim=2)
        return bounds if found is None else torch.maximum(bounds, found)

    @staticmethod
    def _through_stage(rows, stage):
        """Return rows (b, R, inputs) and constants (b, R) of rows (b, R, outputs) of an affine stage."""
        constant = _total(rows * stage.constant[None])
        before = stage.transpose(rows.flatten(0, 1))
        return before.view(*rows.shape[:2], *stage.input_shape), constant


def _both_signs(x, units):
    """Return a function that makes the rows (1, r, units) of a slice of [I, -I]."""

    def rows_of(some):
        places = torch.arange(some.start, some.stop, device=x.device)
        signs = (1 - 2 * (places >= units).to(x.dtype))[:, None]
        return x.new_zeros(len(places), units).scatter_(1, (places % units)[:, None], signs)[None]

    return rows_of


def _through_relu(rows, low, high):
    """Return rows and constants (b, R) of a lower bound that is linear in the inputs of ReLUs in [low, high]."""
    crossing = (low < 0) & (high > 0)
    width = torch.where(crossing, high - low, 1)
    active = (low >= 0).to(rows.dtype)
    upper_slope = torch.where(crossing, high / width, active)[:, None]
    lower_slope = torch.where(crossing, (high >= -low).to(rows.dtype), active)[:, None]
    intercept = torch.where(crossing, -low * high / width, 0)[:, None]
    positive, negative = rows.clamp(min=0), rows.clamp(max=0)
    return positive * lower_slope + negative * upper_slope, _total(negative * intercept)


def _total(products):
    """Sum (b, R, ...) to (b, R)."""
    return products.flatten(2).sum(2)
