"""`make fuzz`: as each role in turn, for as long as is wanted, every run with a seed of its own."""

import argparse
import asyncio
import secrets
import sys
from dataclasses import replace

from system.people import People
from system.running import MESSAGE_BURST, Running

from fuzzing.runs import FOR_EVERYBODY, ROLES, Plan, caller_of, run

WHOLE = Plan("examples,coverage,fuzzing,stateful", examples=100, scenarios=200)


async def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long, over all roles")
    parser.add_argument("--seed", type=int, help="of the first run; random when left out")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else secrets.randbelow(2**31)
    plan = replace(WHOLE, seconds=max(1, round(options.minutes * 60 / (len(ROLES) + 1))))
    failed = []
    async with Running({"CHAT_MESSAGE_BURST": str(MESSAGE_BURST)}) as system:
        people = People(system)
        for number, role in enumerate((*ROLES, "the switches")):
            sys.stdout.write(f"As {role}, seed {seed + number}\n")
            last = role not in ROLES
            caller = await caller_of("admin" if last else role, people)
            this = replace(plan, seed=seed + number, only=FOR_EVERYBODY if last else ())
            outcome = await run(system, caller, this)
            sys.stdout.write(outcome.output)
            sys.stdout.flush()
            if outcome.code:
                failed.append(role)
    sys.stdout.write(f"{'Failed as ' + ', '.join(failed) if failed else 'Nothing found'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
