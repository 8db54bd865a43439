"""What bounds are measured against: each example's gradient on its own, and searches for the worst example."""

import torch


def unit_rows(count, *shape, seed=0, norm=1.0, dtype=torch.float64):
    """Random examples of one norm."""
    x = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return norm * x / x.flatten(1).norm(dim=1).view(-1, *[1] * len(shape))


def gradient_norms(model, losses, inputs, size):
    """The norm of each example's gradient over the batch size, one example at a time: name to (N,)."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    rows = []
    for index in range(len(inputs)):
        loss = losses(model(inputs[index : index + 1]), index) / size
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        rows.append([0.0 if each is None else float(each.double().norm()) for each in gradients])
    return dict(zip(names, torch.tensor(rows, dtype=torch.float64).T, strict=True))


def worst_ratios(model, bounds, shape, input_norm, steps=25, seed=0, rate=0.2):
    """Search for inputs and gradients of the outputs (of norm 1) that bring each gradient near its bound.

    Return the largest ratio seen for each parameter.
    """
    names, parameters = zip(*model.named_parameters(), strict=True)
    worst = {}
    for target in bounds:
        x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        with torch.no_grad():
            outputs = model(x)
        g = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
        x, g = x.requires_grad_(), g.requires_grad_()
        search = torch.optim.Adam([x, g], lr=rate)
        for _ in range(steps):
            value = (model(input_norm * x / x.norm()) * g / g.norm()).sum()
            gradients = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
            ratios = {
                name: each.norm() / bounds[name]
                for name, each in zip(names, gradients, strict=True)
                if each is not None and name in bounds
            }
            for name, ratio in ratios.items():
                worst[name] = max(worst.get(name, 0.0), float(ratio.detach()))
            search.zero_grad()
            (-ratios[target]).backward()
            search.step()
    return worst
