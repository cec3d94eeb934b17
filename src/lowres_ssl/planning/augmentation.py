"""Config -> who makes the views of each epoch."""

from lowres_ssl.config import PretrainConfig, least_image_size, plain
from lowres_ssl.views.maker import ViewMaker
from lowres_ssl.views.schedule import sizes_by_epoch


def view_makers(config: PretrainConfig) -> list[ViewMaker]:
    """Build the maker of each epoch's views: one a size, in the order of the schedule."""
    sizes = sizes_by_epoch(
        config.image_size_schedule,
        epochs=config.epochs,
        image_size=config.image_size,
        smallest=least_image_size(config.backbone),
    )
    images, settings = config.images, plain(config.views)
    makers = {
        size: ViewMaker(image_size=size, mean=images.mean, std=images.std, seed=config.seed, **settings)
        for size in set(sizes)
    }
    return [makers[size] for size in sizes]
