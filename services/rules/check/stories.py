"""What the people of a story are must be there in the rulebook it is told about: roles and teams."""

from collections.abc import Iterable

from services.rules.check.scope import Scope
from services.rules.story.model import Story


def check_stories(scope: Scope, stories: Iterable[Story]) -> None:
    roles, teams = scope.roles(), scope.book.people.teams
    for story in stories:
        for each in story.people:
            for role in each.roles:
                if role and role not in roles:
                    scope.report.unknown(each.place, f"there is no role “{role}”", role, roles)
            if each.team is not None and each.team not in teams:
                scope.report.unknown(each.place, f"people.yaml has no team “{each.team}”", each.team, teams)
