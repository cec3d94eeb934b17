"""Config -> who makes the views of each epoch."""

from lowres_ssl.config import PretrainConfig, least_image_size, plain
from lowres_ssl.views.maker import ViewMaker
from lowres_ssl.views.schedule import sizes_by_epoch


def view_makers(config: PretrainConfig) -> list[ViewMaker]:
    """Who makes the views of each epoch: one a size, in the order of the schedule."""
    sizes = sizes_by_epoch(
        config.image_size_schedule,
        epochs=config.epochs,
        image_size=config.image_size,
        smallest=least_image_size(config.backbone),
    )

    def maker(size: int) -> ViewMaker:
        # A blur is as wide on the image at any size.
        sigma = [width * size / config.image_size for width in config.views.blur_sigma]
        settings = plain(config.views) | {"blur_sigma": sigma, "image_size": size, "seed": config.seed}
        return ViewMaker(mean=config.images.mean, std=config.images.std, **settings)

    makers = {size: maker(size) for size in set(sizes)}
    return [makers[size] for size in sizes]
