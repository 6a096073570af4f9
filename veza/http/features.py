"""Features that administrators can turn off and on while the platform runs. One nobody touched is as it says here."""

import msgspec


class Feature(msgspec.Struct, frozen=True):
    """`default` holds until somebody sets the flag of this name."""

    name: str
    description: str
    default: bool = True


REGISTRATION = Feature("registration", "Anybody may register.")
CREATOR_SIGNUP = Feature("creator_signup", "Anybody may make themselves a creator; else administrators do it.")
PUBLIC_ROOMS = Feature("public_rooms", "Public rooms can be found, made and joined.")
ATTACHMENTS = Feature("attachments", "Files can be attached to messages.")

FEATURES = {feature.name: feature for feature in (REGISTRATION, CREATOR_SIGNUP, PUBLIC_ROOMS, ATTACHMENTS)}
