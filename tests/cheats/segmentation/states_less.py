"""Has its layers state less than they have."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "states_less"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        for layer in model.modules():
            if hasattr(layer, "lipschitz_bound"):
                layer.__class__ = type("Layer", (type(layer),), {"lipschitz_bound": 0.5})
        return super().lipschitz_constant(model, input_shape)
