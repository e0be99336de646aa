"""Another device than the CPU, for machines that have none: the fixture ``elsewhere``."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only


class There(torch.Tensor):
    """A tensor that says it is on another device, and computes on the CPU.

    As on a GPU, what is there and what is here do not mix, and draws need a generator from there;
    as on Apple's MPS, there is no float64. It poses as PyTorch's ``meta`` device, which has no
    values of its own, so that gradients work, too.
    """

    DEVICE = torch.device("meta")
    ACROSS = ("_to_copy", "copy_", "_has_compatible_shallow_copy_type")  # may know of both devices
    INDEXED = ("index", "index_put_", "_index_put_impl_")  # whose indices may lie on the CPU

    @staticmethod
    def __new__(cls, here):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=cls.DEVICE,
            requires_grad=here.requires_grad,
        )

    def __init__(self, here):
        self.here = here

    def __repr__(self):
        return f"There({self.here})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func._schema.name.removeprefix("aten::")
        leaves = tree_leaves((args, kwargs))
        there = [one for one in leaves if isinstance(one, cls)]
        if any(type(one) is torch.Tensor and one.is_meta for one in leaves):
            raise RuntimeError(f"{name}: this tensor has no values; the test does not reach so far")
        indexed = name in cls.INDEXED and isinstance(args[0], cls)
        together = (args[:1], args[2:], kwargs) if indexed else (args, kwargs)
        kinds = {type(one) is cls for one in tree_leaves(together) if _is_array(one)}
        if len(kinds) == 2 and name not in cls.ACROSS:
            raise RuntimeError(f"{name}: tensors on two devices")
        goes = isinstance(args[0], cls) if name == "copy_" else bool(there)
        for device in (one for one in leaves if type(one) is torch.device):
            goes = device == cls.DEVICE
        if goes and kwargs.get("generator") is not None:
            raise RuntimeError(f"{name}: a generator of the CPU draws for another device")
        args, kwargs = tree_map_only(torch.device, lambda _: torch.device("cpu"), (args, kwargs))
        args, kwargs = tree_map_only(cls, lambda one: one.here, (args, kwargs))
        made = func(*args, **kwargs)
        if not goes:
            return made
        if any(getattr(one, "dtype", None) == torch.float64 for one in tree_leaves(made)):
            raise TypeError(f"{name}: this device has no float64")
        same = {id(one.here): one for one in there}  # what is changed in place stays itself
        return tree_map_only(
            torch.Tensor, lambda one: same[id(one)] if id(one) in same else cls(one), made
        )


def _is_array(value) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0


class Elsewhere(TorchDispatchMode):
    """While it is on, ``to(Elsewhere.DEVICE)`` brings tensors and models to that other device."""

    DEVICE = There.DEVICE

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return There.__torch_dispatch__(func, types, args, kwargs)
