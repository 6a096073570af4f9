"""The way between a scenario's people and the platform, which may be cut or silenced."""

from system.relay import Relay


class Network(Relay):
    async def suffer(self, action: str) -> None:
        """What a scenario does to it. `hold`: what people send arrives, what they are sent does not. `cut`: connections
        end, new ones work.
        """
        match action:
            case "hold":
                self.hold()
            case "cut":
                self.cut()
            case _:
                raise AssertionError(f"the network cannot {action}")
