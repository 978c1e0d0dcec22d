"""What is measured. Each scenario names its contenders; the first is ours, the others are compared with it."""

from bench.scenarios.clones import CLONES
from bench.scenarios.compat import COMPAT
from bench.scenarios.idle import IDLE
from bench.scenarios.isolates import ISOLATES
from bench.scenarios.joblib import JOBLIB
from bench.scenarios.pools import POOLS
from bench.scenarios.scenario import Scenario
from bench.scenarios.streams import STREAMS
from bench.scenarios.tasks import TASKS
from bench.scenarios.trips import TRIPS
from bench.scenarios.wakeups import WAKEUPS

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (*STREAMS, *TRIPS, *CLONES, *TASKS, *POOLS, *JOBLIB, *IDLE, *ISOLATES, *WAKEUPS, *COMPAT)
}
