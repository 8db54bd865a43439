"""The steps of optimizers as one CUDA graph: a single launch a step, however many kernels it takes."""

import torch

DEVICE = "cuda"


class CapturedStep:
    """Does the steps of optimizers by replaying a recording of them.

    With hundreds of small matrices a step takes hundreds of kernels, each of which may be done before the next one is
    launched. A CUDA graph launches all of them at once. The first calls do the steps as they are, which makes the
    optimizers' states and lets libraries set up; the next one records the steps, and from then on they are replayed.

    Parameters
    ----------
    optimizers : torch.optim.Optimizer, or list of them
        With parameters on one CUDA device. A step may not wait for the device, and what it changes, beyond Python's
        reach, must be in tensors there: so it is with `TurboMuon`, with `SchattenMuon` for a fixed exponent 0 or 1 or
        with method="products", and with torch.optim.AdamW if it is made with capturable=True. torch.optim.Muon (2.13)
        fetches its learning rate from the device, which torch refuses while it records.
    warm_up : int
        Calls that do the steps as they are, at least 1.

    Attributes
    ----------
    recordings : int
        How often the steps were recorded: once, unless options or states were changed.

    Raises
    ------
    TypeError
        If `optimizers` aren't optimizers, or `warm_up` is no integer.
    ValueError
        If parameters are elsewhere, or an optimizer says that its steps can't be recorded; `__call__` raises if a
        gradient isn't where it was.

    Notes
    -----
    Learning rates become float32 tensors on the device. Schedulers write into these; so does this class, if a rate was
    replaced by a number. Other options are part of the recording: after one was changed, a state loaded or a parameter
    added, the steps are recorded anew.

    Gradients must stay where they are: call `zero_grad` of this class between steps, or that of the optimizers with
    ``set_to_none=False``. The recording keeps the memory of all temporary tensors of the steps. Hooks of the optimizers
    are not called by a replay. There is no state beside that of the optimizers: save and load theirs. To the last bit,
    it does what the steps with such tensors as rates do.

    Examples
    --------
    >>> from orthobench.optim import CapturedStep, TurboMuon, route_parameters
    >>> def make_step(model):
    ...     routes = route_parameters(model)
    ...     adamw = torch.optim.AdamW(routes.other, lr=3e-4, capturable=True)
    ...     return CapturedStep([TurboMuon(routes.matrix), adamw])
    >>> def train(model, step, batches, loss):
    ...     for inputs, targets in batches:
    ...         loss(model(inputs), targets).backward()
    ...         step()
    ...         step.zero_grad()
    """

    def __init__(self, optimizers, warm_up=3):
        self.optimizers = [optimizers] if isinstance(optimizers, torch.optim.Optimizer) else list(optimizers)
        self._device = _check_optimizers(self.optimizers)
        if isinstance(warm_up, bool) or not isinstance(warm_up, int):
            raise TypeError(f"warm_up must be an integer >= 1, got {warm_up!r} ({type(warm_up).__name__}).")
        if warm_up < 1:
            raise ValueError(f"warm_up must be an integer >= 1, got {warm_up}; the first step makes the states.")
        self.warm_up, self.recordings = warm_up, 0
        self._rates = {}  # by the place of the group, a tensor that the recording reads
        self._gradients, self._recorded, self._replay, self._done = None, None, None, 0

    def __call__(self):
        """Do one step of each optimizer."""
        self._set_rates()
        self._check_gradients()
        if self._recorded != self._describe():
            self._replay, self._done = None, min(self._done, self.warm_up - 1)
        if self._replay is None and self._done < self.warm_up:
            _run_aside(self._steps, self._device)
            self._done += 1
            self._recorded = self._describe()  # the first step makes states
            return
        if self._replay is None:
            self._replay = _record(self._steps, self._device)
            self.recordings += 1
        self._replay()

    def zero_grad(self):
        """Set all gradients to zero, where they are."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=False)

    def _steps(self):
        for optimizer in self.optimizers:
            optimizer.step()

    @property
    def _groups(self):
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _set_rates(self):
        for place, group in enumerate(self._groups):
            lr = group["lr"]
            if place not in self._rates:
                self._rates[place] = torch.empty((), dtype=torch.float32, device=self._device)
            if lr is not self._rates[place]:
                self._rates[place].copy_(lr.squeeze()) if isinstance(lr, torch.Tensor) else self._rates[place].fill_(lr)
                group["lr"] = self._rates[place]

    def _check_gradients(self):
        found = {p: p.grad for group in self._groups for p in group["params"] if p.grad is not None}
        before, self._gradients = self._gradients, found  # kept, so that no other tensor gets their memory
        if before is None:
            return
        for p, gradient in found.items():
            if p in before and before[p] is not gradient:
                self._gradients = before
                raise ValueError(
                    f"the gradient of a parameter of shape {tuple(p.shape)} is another tensor than in the step before; "
                    "gradients must stay where they are: use CapturedStep.zero_grad, or zero_grad(set_to_none=False)."
                )

    def _describe(self):
        """Return what a recording depends on: where all tensors are, and the options."""
        tensors = [each for pair in self._gradients.items() for each in pair]
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                tensors += [each for each in state.values() if isinstance(each, torch.Tensor)]
        options = [
            (name, value.data_ptr() if isinstance(value, torch.Tensor) else value)
            for group in self._groups
            for name, value in group.items()
            if name not in ("params", "lr", "steps_done")
        ]
        return [each.data_ptr() for each in tensors], options


def _check_optimizers(optimizers):
    """Return the device of all parameters."""
    if not optimizers or not all(isinstance(each, torch.optim.Optimizer) for each in optimizers):
        kinds = ", ".join(type(each).__name__ for each in optimizers) or "nothing"
        raise TypeError(f"optimizers must be one or more torch optimizers, got {kinds}.")
    groups = [group for each in optimizers for group in each.param_groups]
    devices = {p.device for group in groups for p in group["params"]}
    if len(devices) != 1 or next(iter(devices)).type != DEVICE:
        found = ", ".join(sorted(map(str, devices)))
        raise ValueError(
            f"the parameters must be on one CUDA device, got {found}; elsewhere there are no CUDA graphs: "
            "torch.compile(optimizer.step) saves launches too."
        )
    for optimizer in optimizers:
        if hasattr(optimizer, "check_capturable"):
            optimizer.check_capturable()
        if not all(group.get("capturable", True) for group in optimizer.param_groups):
            name = type(optimizer).__name__
            raise ValueError(f"capturable of {name} is False: make it with {name}(..., capturable=True).")
    return devices.pop()


def _run_aside(function, device):
    """Run a function on a stream of its own, as torch asks for before it records."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function()
        torch.cuda.current_stream().wait_stream(stream)


def _record(function, device):
    """Record the kernels of a function without running them; return what runs them."""
    graph = torch.cuda.CUDAGraph()
    # Other threads, such as that which watches over NCCL, may go on meanwhile.
    mode = {"stream": torch.cuda.Stream(device), "capture_error_mode": "thread_local"}
    with torch.cuda.device(device), torch.cuda.graph(graph, **mode):
        function()
    return graph.replay
