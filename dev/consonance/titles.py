"""A product's titles: its own where it overrides, otherwise its work's."""

from dev.consonance.house import House
from dev.consonance.normalise import join_title, split_title
from dev.consonance.records import Product


def title_prefix(house: House, product: Product) -> str | None:
    if product.own_title is not None or product.title_prefix is not None:
        return product.title_prefix
    return split_title(house.works[product.work_id].title)[0]


def title_without_prefix(house: House, product: Product) -> str:
    return product.own_title or split_title(house.works[product.work_id].title)[1]


def title_of(house: House, product: Product) -> str:
    return join_title(title_prefix(house, product), title_without_prefix(house, product))


def subtitle_of(house: House, product: Product) -> str | None:
    return product.own_subtitle if product.own_subtitle is not None else house.works[product.work_id].subtitle


def full_title(house: House, product: Product) -> str:
    subtitle = subtitle_of(house, product)
    return f"{title_of(house, product)}: {subtitle}" if subtitle else title_of(house, product)


def credits_of(house: House, work_id: int) -> str:
    """The authors as a cover names them; other roles are not."""
    names = [house.contacts[one.contact_id].name for one in house.contributions_of(work_id) if one.role_code == "A01"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
