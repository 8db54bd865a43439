"""What a layer says about itself."""


def stated(layer, lipschitz_bound=1.0, joint=True):
    """Note a layer's Lipschitz constant on it; return it.

    Parameters
    ----------
    layer : nn.Module
    lipschitz_bound : float
    joint : bool
        Whether the constant is that of the whole map; otherwise, of each output on its own.
    """
    layer.lipschitz_bound, layer.joint = lipschitz_bound, joint
    return layer
