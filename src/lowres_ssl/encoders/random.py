"""Train nothing: the encoder that the other methods start from at the same seed."""

from lowres_ssl.encoders.base import FixedEncoder


class RandomEncoder(FixedEncoder):
    """Leave a randomly initialised encoder as it is. The row every table needs: on small sets it is a strong baseline.

    What it is depends on the architecture's initialisation. A ResNet's BatchNorm layers have never seen an image: in
    evaluation they use mean 0 and variance 1, so they change nothing, and the size of the activations is that of the
    initial weights alone. With `backbone.zero_init_residual=true` the last BatchNorm of each residual branch starts at
    zero, so that every block passes on its input only: the network is then the stem, the down-sampling convolutions and
    the pooling, far shallower than its name, which can make its features better or worse than those of the full random
    network. So it is compared with the methods at the same recipe and seed only.
    """
