"""A house with a released model and a customer's key, made in the database that DATABASE_URL names.

    python -m tests.benchmarks.serving.house ARTIFACT KEYS

Prints one JSON object: the customer's secrets and a row. Leaves the artifact's bytes in ARTIFACT,
for the peers. The model has the features of the Adult table and the network that the bench of
training trains, with weights as they are drawn: what a prediction costs does not depend on them.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

QUOTA: Final = 10**12
# A row that the model takes, of nobody.
ROW: Final[dict[str, Any]] = {
    "age": 42,
    "workclass": "Private",
    "fnlwgt": 189_778,
    "education": "Masters",
    "education-num": 14,
    "marital-status": "Divorced",
    "occupation": "Exec-managerial",
    "relationship": "Unmarried",
    "race": "Other",
    "sex": "Female",
    "capital-gain": 0,
    "capital-loss": 0,
    "hours-per-week": 45,
    "native-country": "United-States",
}


def artifact() -> tuple[bytes, str]:
    """A model's bytes, and the digest of its explanations' background."""
    from audit.explanations import Background
    from tests.factories import adult
    from tests.factories.gateway import BACKGROUND
    from training.accounting import make_plan
    from training.artifacts import to_bytes
    from training.backgrounds import ORIGIN, synthetic_background
    from training.config import Guarantee, ModelKind, TrainingConfig
    from training.declarations import read_declarations
    from training.networks import build

    declared = read_declarations(adult.declaration(), adult.NAMES, target="income", positive=None)
    spec = declared.complete({})
    config = TrainingConfig(
        epsilon=1.0,
        delta=1e-5,
        features=spec.digest(),
        model=ModelKind.MLP,
        hidden=(128, 64),
        expected_batch=512,
        steps=2,
        guarantee=Guarantee.PUBLIC_DATA,
    )
    plan = make_plan(config, 32_561)
    state = build(config, spec.width).state_dict()
    data = to_bytes(state, config=config, plan=plan, spec=spec, executed=2)
    rows = synthetic_background(spec, BACKGROUND["rows"], BACKGROUND["seed"])
    return data, Background.from_rows(rows, spec.names, ORIGIN).digest()


def main() -> None:
    """Make the house."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from tests.factories import gateway

    data, background = artifact()
    Path(sys.argv[1]).write_bytes(data)
    gateway.artifact = lambda seed=0: (data, background)  # noqa: ARG005 - its signature
    shop = gateway.make_shop(quota=QUOTA)
    more = [gateway.make_key(shop.house, shop.license) for _ in range(int(sys.argv[2]) - 1)]
    secrets = [shop.secret, *(issued.secret for issued in more)]
    print(json.dumps({"secrets": secrets, "slug": shop.slug, "row": ROW}))


if __name__ == "__main__":
    main()
