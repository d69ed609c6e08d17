"""The processes that train one model together; only the modules that split the model also use ``torch.distributed``.

``torchrun`` starts the processes and describes them in their environment. Each process computes the gradient of its share of
every batch, with a whole model or with its rows of a sharded one. The sums over all processes are the same in each of them,
so all make the same update. A single process never uses ``torch.distributed``.

With tensor or context parallelism, a group of neighbouring processes computes each share together. For ``dp=2`` and
``tp=3``::

    World.group     0 1 2 | 3 4 5    same samples, other columns of the weights
    World.data      0 3 | 1 4 | 2 5  same columns of the weights, other samples
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from sightweave.core.config import config
from sightweave.core.device import Precision
from sightweave.core.errors import BackendError, RecipeError

_BUCKET_BYTES = 25 << 20
"""Size up to which tensors are summed in one operation: large enough to use the network well."""
_BACKENDS = ("gloo", "NCCL", "ProcessGroup", "Connection")
"""Words of which errors of the connection contain at least one."""
_FILES_SECONDS = 3600.0
"""Least time to wait for the files of other processes; one that ends is noticed much sooner, in the next step."""
_PATIENCE = timedelta(days=1)
"""Maximum time to wait for work that takes long, such as preparing data or saving a large model."""


class OtherProcessError(BackendError):
    """Another process of the run stopped, hangs or cannot be reached."""


@config
class Mesh:
    """How many processes train the model together."""

    dp: PositiveInt = 1
    """Number of shares of every batch (data parallel). Each is computed by one process, or by mesh.tp processes."""
    tp: PositiveInt = 1
    """Number of processes that split the blocks of the language model between them (tensor parallel), for models whose
    blocks do not fit into the memory of one. torchrun starts mesh.dp times mesh.tp processes."""
    cp: PositiveInt = 1
    """Number of processes that split the tokens of every row between them (context parallel), for long sequences.
    torchrun starts mesh.dp times mesh.cp processes."""
    shard: bool = False
    """Whether each process holds only its share of the weights, gradients and optimizer state (FSDP2), for models that do
    not fit into the memory of one."""
    timeout: PositiveFloat = 600.0
    """Maximum time in seconds that a process waits for the others before the run stops."""

    def __post_init__(self) -> None:
        if self.shard and self.tp > 1:
            raise ValueError(
                f"mesh.shard is true and mesh.tp is {self.tp}, which cannot be combined; set mesh.tp=1 to shard all "
                "weights, or mesh.shard=false to split only the blocks of the language model"
            )
        if self.cp > 1 and (self.shard or self.tp > 1):
            other = "mesh.shard=false" if self.shard else "mesh.tp=1"
            raise ValueError(
                f"mesh.cp is {self.cp}, which cannot be combined with mesh.shard or mesh.tp; set {other}, or mesh.cp=1"
            )

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.dp * self.tp * self.cp


@dataclass(frozen=True, slots=True)
class World:
    """The rank of this process, and the number of processes.

    The methods that communicate must be called by all processes in the same order. Each returns the same result in all of
    them, and raises `OtherProcessError` if a process does not answer in time.

    Raises:
        ValueError: no process, or a rank outside of 0 to `size` - 1.
    """

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number of this process among those on its machine, from 0."""
    link: Link | None = None
    """Connection to the other processes; None if it is not open."""
    shards: bool = False
    """Whether no process holds all weights of the model (see `SplitModel`)."""
    tensor: World | None = None
    """The processes that split the language model and train on the same samples; None without tensor parallelism."""
    context: World | None = None
    """The processes that split the tokens of the same samples; None without context parallelism."""
    replicas: World | None = None
    """The processes with the same rank in other groups, if there is `tensor` or `context`."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"the rank of {self.size} processes is 0 to {self.size - 1} (got {self.rank}).")

    @property
    def group(self) -> World | None:
        """The processes that compute the same samples together; None if each has its own."""
        return self.tensor or self.context

    @property
    def data(self) -> World:
        """The processes among which the samples of a batch are divided."""
        return self if self.replicas is None else self.replicas

    @property
    def patience(self) -> float:
        """Maximum time in seconds that the first process waits for files of the others, whose disks may be slow."""
        return max(_FILES_SECONDS, 0.0 if self.link is None else self.link.timeout)

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def close(self) -> None:
        """Disconnects from the other processes; closing again does nothing."""
        if self.link is not None:
            self.link.close()

    # Numbers and flags.

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums over all processes, computed in fp64.

        Args:
            values: The same number of values in each process.
        """
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        with self._talking("sum numbers") as link:
            link.distributed.all_reduce(total, group=link.group)
        return total.tolist()

    def mean(self, value: float) -> float:
        """The mean of the values of all processes."""
        return self.sum([value])[0] / self.size

    def agree(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return self.sum([float(flag)])[0] > 0

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank.

        Args:
            value: A value that JSON can hold; it may have another length in each process.
        """
        if self.size == 1:
            return [value]

        text = bytearray(json.dumps(value).encode())
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with self._talking("exchange values") as link:
            link.distributed.all_gather(lengths, torch.tensor([len(text)]), group=link.group)
            counts = [int(length) for length in lengths]

            # Texts are padded, since all tensors must have the same size.
            padded = torch.frombuffer(text.ljust(max(counts)), dtype=torch.uint8)
            texts = [torch.empty_like(padded) for _ in range(self.size)]
            link.distributed.all_gather(texts, padded, group=link.group)

        return [json.loads(one.numpy().tobytes()[:count]) for one, count in zip(texts, counts, strict=True)]

    def from_first(self, value: Any) -> Any:
        """The value of the first process, which JSON must be able to hold."""
        return self.gather(value if self.is_first else None)[0]

    def check_same(self, name: str, value: str) -> None:
        """Checks that a value is the same in all processes.

        Raises:
            BackendError: it differs.
        """
        found = self.gather(value)
        for rank, other in enumerate(found):
            if other != found[0]:
                raise BackendError(
                    f"{name} differs between the processes: {found[0]!r} in process 0, but {other!r} in process {rank}; "
                    "start all of them with the same command, code and data."
                )

    # Waiting.

    def barrier(self) -> None:
        """Waits until all processes are here, for up to a day: some may work on something long."""
        if self.size == 1:
            return
        with self._talking("wait for the others") as link:
            link.wait_for_all()

    def wait_for_first(self) -> None:
        """Waits for the first process for up to a day, such as while it saves, and for the others as usual."""
        if self.size == 1:
            return
        with self._talking("wait for process 0") as link:
            link.wait_for_first()
        self.sum([0.0])  # the first one has not waited for the others yet

    @contextlib.contextmanager
    def in_turns(self) -> Iterator[None]:
        """Runs the block first in one process of each machine, then in its others: for work that fills a cache on disk."""
        if self.local_rank == 0:
            yield
        self.barrier()
        if self.local_rank != 0:
            yield

    # Tensors.

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its sum over all processes; the results have the same bits in all of them.

        Args:
            tensors: Floating-point tensors, of the same shapes and in the same order in all processes.
        """
        if self.size == 1:
            return
        running: list[tuple[list[Tensor], Tensor, Any]] = []
        with self._talking("sum gradients") as link:
            # Start them all, so that one bucket is copied while another is on its way.
            for bucket in _buckets(tensors):
                flat = torch.cat([one.reshape(-1) for one in bucket])
                work = link.distributed.all_reduce(flat, group=link.group, async_op=True)
                running.append((bucket, flat, work))

            for bucket, flat, work in running:
                work.wait()
                parts = torch.split(flat, [one.numel() for one in bucket])
                for one, part in zip(bucket, parts, strict=True):
                    one.copy_(part.view(one.shape))

    @torch.no_grad()
    def copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrites each tensor with that of the first process.

        Args:
            tensors: Tensors of the same shapes and types, and in the same order, in all processes.
        """
        if self.size == 1:
            return
        with self._talking("copy weights") as link:
            for one in tensors:
                # As bytes, since not every type can be sent.
                whole = one.detach().contiguous()
                link.distributed.broadcast(whole.reshape(-1).view(torch.uint8), group=link.group, group_src=0)
                one.copy_(whole)

    def rows(self, count: int) -> slice:
        """The rows of a sharded tensor of `count` rows that this process holds: equal shares, except for the last ones."""
        share = -(-count // self.size)
        return slice(min(self.rank * share, count), min((self.rank + 1) * share, count))

    def gather_rows(self, own: Tensor, count: int, dim: int = 0) -> Tensor:
        """The whole tensor, of which each process holds the rows of `rows`.

        Args:
            own: The rows of this process.
            count: Number of rows of the whole tensor.
            dim: The dimension along which the tensor is split.
        """
        if self.size == 1:
            return own
        # All shares must have the same size.
        own = own.movedim(dim, 0)
        share = -(-count // self.size)
        padded = own.new_zeros(share, *own.shape[1:])
        padded[: len(own)] = own
        with self._talking("gather the rows of a tensor") as link:
            shares = [torch.empty_like(padded) for _ in range(self.size)]
            link.distributed.all_gather(shares, padded, group=link.group)
        return torch.cat(shares)[:count].movedim(0, dim)

    def add_up_rows(self, whole: Tensor, dim: int = 0) -> Tensor:
        """The sum over all processes, of which each gets its own rows; the number of processes must divide that of rows.

        Args:
            whole: A tensor of the same shape in all processes.
            dim: The dimension that is split.
        """
        if self.size == 1:
            return whole
        ahead = whole.movedim(dim, 0).contiguous()
        found = ahead.new_empty(len(ahead) // self.size, *ahead.shape[1:])
        with self._talking("sum the rows of a tensor") as link:
            # Older versions of torch have another name for it.
            older = link.distributed.reduce_scatter_tensor
            reduce = getattr(link.distributed, "reduce_scatter_single", older)
            reduce(found, ahead, group=link.group)
        return found.movedim(0, dim)

    # Devices.

    def device(self, device: torch.device) -> torch.device:
        """The device of this process: the GPU with its local rank if training uses GPUs.

        Raises:
            RecipeError: a GPU is named by its number, so that all processes would share it.
            BackendError: the machine has fewer GPUs than processes.
        """
        if self.size == 1 or device.type != "cuda":
            return device
        if ":" in str(device):
            raise RecipeError(
                f"train.device is {device}, which all {self.size} processes would share; set train.device=cuda, and each "
                "process takes its own GPU."
            )

        count = torch.cuda.device_count()
        if self.local_rank >= count:
            raise BackendError(
                f"process {self.local_rank} of this machine needs a GPU of its own, but there are {count}; start at most "
                f"{count} processes on it (torchrun --nproc-per-node {count}), or set train.device=cpu."
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def precision(self, precision: Precision) -> Precision:
        """The precision, with the number format of the first process: machines may measure differently."""
        name = self.from_first(precision.name)
        return (
            precision if name == precision.name else replace(precision, name=name, reason="as in process 0")
        )

    @contextlib.contextmanager
    def _talking(self, doing: str) -> Iterator[Link]:
        """Gives the connection, and turns errors of ``torch.distributed`` into `OtherProcessError`."""
        if self.link is None:
            raise BackendError(
                f"process {self.rank} of {self.size} is not connected to the others; open the connection with "
                "`world.opened`, in processes that torchrun started."
            )

        try:
            yield self.link
        except RuntimeError as error:
            raise self._lost(doing, self.link, error) from error

    @contextlib.contextmanager
    def exchanging(self, doing: str) -> Iterator[None]:
        """Turns errors of the connection into `OtherProcessError`, in a block in which torch itself communicates.

        Args:
            doing: What the block does, as an infinitive.
        """
        try:
            yield
        except RuntimeError as error:
            is_of_connection = any(name in str(error) for name in _BACKENDS)
            if self.link is None or not is_of_connection:
                raise
            raise self._lost(doing, self.link, error) from error

    def _lost(self, doing: str, link: Link, error: RuntimeError) -> OtherProcessError:
        rank, size = link.process
        return OtherProcessError(
            f"process {rank} of {size} could not {doing}: another process stopped, hangs for more than "
            f"mesh.timeout ({link.timeout:g} s) or cannot be reached ({_reason(error)}). See the messages of the others."
        )


class Link:
    """An open connection to the other processes, or to those of a group.

    Args:
        timeout: Maximum time of an operation in seconds.
        patient: Process group of the same processes, whose operations may take up to a day.
        process: Rank of this process among all, and their number.
        group: Process group of ``torch.distributed``; None for all processes.
    """

    def __init__(self, timeout: float, patient: Any, process: tuple[int, int], group: Any = None) -> None:
        import torch.distributed

        self.timeout, self.process, self.group = timeout, process, group
        self.distributed: Any = torch.distributed  # most of its functions have no types
        self._patient = patient
        self._is_open = True

    def split(self, groups: Sequence[Sequence[int]]) -> World:
        """The group of this process among several, which all processes create together.

        Args:
            groups: The ranks of each group; every process is in one of them.
        """
        rank, _ = self.process
        found = World()
        for ranks in groups:
            made = self.distributed.new_group(list(ranks), timeout=timedelta(seconds=self.timeout))
            if rank in ranks:
                link = Link(self.timeout, made, self.process, made)
                found = World(ranks.index(rank), len(ranks), link=link)
        return found

    # These send a number instead of waiting for a key of the store: a connection breaks when a process ends, a key does not.

    def wait_for_first(self) -> None:
        """Waits until the first process has called this as often as this one."""
        self.distributed.broadcast(torch.zeros(1), group=self._patient, group_src=0)

    def wait_for_all(self) -> None:
        """Waits until all processes have called this as often as this one."""
        self.distributed.all_reduce(torch.zeros(1), group=self._patient)

    def close(self) -> None:
        """Closes the connection, once."""
        if self._is_open:
            self._is_open = False
            self.distributed.destroy_process_group()


@contextlib.contextmanager
def opened(mesh: Mesh, environment: Mapping[str, str]) -> Iterator[World]:
    """The processes that torchrun started, connected until the block ends.

    Args:
        mesh: Number of processes, and how long they wait for one another.
        environment: The environment variables: ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and
            ``MASTER_PORT`` of torchrun. Without ``WORLD_SIZE``, there is one process.

    Raises:
        RecipeError: another number of processes was started.
        BackendError: the processes cannot be connected.
    """
    rank, size, local_rank = (
        int(environment.get(name, default))
        for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    )
    if size != mesh.size:
        raise RecipeError(_other_size(mesh, size))
    if size == 1:
        yield World()
        return

    link = _connected(mesh.timeout, environment)
    world = World(rank, size, local_rank, link, shards=mesh.shard)
    count = mesh.tp * mesh.cp
    if count > 1:
        group = link.split([range(first, first + count) for first in range(0, size, count)])
        world = replace(world, replicas=link.split([range(first, size, count) for first in range(count)]))
        world = replace(world, context=group) if mesh.cp > 1 else replace(world, tensor=group, shards=True)
    try:
        yield world
    finally:
        world.close()


def _other_size(mesh: Mesh, size: int) -> str:
    """The message for another number of processes than that of the mesh."""
    if mesh.size == mesh.dp:
        return (
            f"mesh.dp is {mesh.dp}, but {size} process(es) were started (WORLD_SIZE); set mesh.dp={size}, or start "
            f"{mesh.dp}: torchrun --nproc-per-node {mesh.dp} -m sightweave train ..."
        )
    name, count = ("cp", mesh.cp) if mesh.cp > 1 else ("tp", mesh.tp)
    return (
        f"mesh.dp is {mesh.dp} and mesh.{name} is {count}, which needs {mesh.size} processes, but {size} process(es) were "
        f"started (WORLD_SIZE); set them so that their product is {size}, or start {mesh.size}: "
        f"torchrun --nproc-per-node {mesh.size} -m sightweave train ..."
    )


@contextlib.contextmanager
def all_of(processes: int, environment: Mapping[str, str], command: str) -> Iterator[World]:
    """The processes that torchrun started for a command whose recipe has no mesh.

    Args:
        processes: Number of processes.
        environment: The environment variables, which do not matter for one process.
        command: Name of the command, for the error.

    Raises:
        RecipeError: another number of processes was started.
        BackendError: the processes cannot be connected.
    """
    if processes == 1:
        yield World()
        return

    started = environment.get("WORLD_SIZE", "1")
    if started != str(processes):
        raise RecipeError(
            f"{command}: processes is {processes}, but {started} process(es) were started (WORLD_SIZE); start them with "
            f"torchrun --nproc-per-node {processes}."
        )
    with opened(Mesh(dp=processes), environment) as world:
        yield world


def _connected(timeout: float, environment: Mapping[str, str]) -> Link:
    """Connects this process to the others; returns when all are connected."""
    import torch.distributed

    distributed: Any = torch.distributed
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if missing:
        raise BackendError(
            f"{environment['WORLD_SIZE']} processes were started (WORLD_SIZE), but {', '.join(missing)} is not set in the "
            "environment; start them with torchrun, which sets it."
        )

    has_gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    limit = timedelta(seconds=timeout)
    try:
        shared, rank, size = next(distributed.rendezvous("env://", timeout=limit))
        # A program may train several times, and each time needs names of its own.
        count = shared.add(f"sightweave/opened/{rank}", 1)
        store = distributed.PrefixStore(f"sightweave/{count}", shared)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if has_gpus else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=limit,
        )
        patient = distributed.new_group(timeout=_PATIENCE, backend="gloo")
    except RuntimeError as error:
        raise OtherProcessError(
            f"process {environment['RANK']} of {environment['WORLD_SIZE']} could not connect to the others at "
            f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']} within mesh.timeout ({timeout:g} s): "
            f"{_reason(error)}. Check that all of them were started and that the address can be reached."
        ) from error
    return Link(timeout, patient, (rank, size))


def _reason(error: RuntimeError) -> str:
    """The first sentence of an error of torch, without the place in its source."""
    line = str(error).strip().partition("\n")[0]
    return re.sub(r"^\[\S*\] ", "", line).partition(". ")[0]


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors in groups of one type and device, each up to a size."""
    found: list[list[Tensor]] = []
    kind, size = None, 0
    for one in tensors:
        if (one.dtype, one.device) != kind or size + one.nbytes > _BUCKET_BYTES:
            found.append([])
            kind, size = (one.dtype, one.device), 0
        found[-1].append(one)
        size += one.nbytes
    return found
