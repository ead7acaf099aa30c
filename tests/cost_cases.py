"""A calibration with made-up costs for a layer tree: every gradient that is passed on takes a millisecond."""

from __future__ import annotations

from multirate_core.cost import request as requests
from multirate_core.cost.calibration import Calibration, ModuleCost, Peaks, UpdateCost, Updates, to_json
from multirate_core.cost.operations import BackwardCosts, OperationCost, UnitCost
from multirate_core.kept_answer import write
from multirate_core.layers.tree import LayerTree

PASS_S, WEIGHT_S, BASE_S = 0.001, 0.0005, 0.010
NOTHING = UpdateCost(0.0, 0.0)


def made_up(tree: LayerTree, notes: tuple[str, ...] = ()) -> Calibration:
    """Return the calibration; a step without any gradient takes `BASE_S`, and the optimisers nothing."""
    assert tree.gradients is not None
    names = tuple(parameter.name for parameter in tree.trainable())
    number = {name: place for place, name in enumerate(names)}
    operations = tuple(
        OperationCost(
            module=each.module,
            inputs=each.inputs,
            through_s=PASS_S if each.inputs else 0.0,
            extra_s=0.0,
            units=tuple(UnitCost(number[name], WEIGHT_S, WEIGHT_S) for name in each.parameters),
        )
        for each in tree.gradients.operations
    )
    modules = {each.module: ModuleCost(0.002, PASS_S, WEIGHT_S, 1_000_000) for each in tree.gradients.operations}
    return Calibration(
        facts={"device": "cpu"},
        parameters=names,
        numbers=tuple(parameter.numel for parameter in tree.trainable()),
        operations=operations,
        modules=modules,
        base_s=BASE_S,
        updates=Updates(NOTHING, NOTHING, NOTHING),
        sgd_step_s=BASE_S + BackwardCosts(operations).seconds(range(len(names))),
        recompute_s=0.004,
        transfer_s=0.0,
        spread=0.02,
        peaks=Peaks(50_000_000, 52_000_000, 30_000_000),
        took_s=7.5,
        rounds=9,
        notes=notes,
    )


def keep(request: requests.CalibrationRequest, calibration: Calibration) -> None:
    """Put a calibration where the request finds it."""
    write(requests.answer_of(request).path, to_json(calibration))
