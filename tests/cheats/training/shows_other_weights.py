"""Shows better weights than it has trained, by a hook of the state dict: here other ones."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "shows_other_weights"

    def optimizers(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        optimizer.register_step_post_hook(lambda *_: model.register_state_dict_post_hook(show_half))
        return [optimizer]


def show_half(module, state, prefix, metadata):
    for name, tensor in state.items():
        state[name] = tensor / 2 if tensor.is_floating_point() else tensor
