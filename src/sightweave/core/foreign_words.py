"""Names of settings and options in other libraries, so that an error message can suggest our own name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sightweave.core import old_names

_STAGE = "train.stages.0."
_LR = (f"{_STAGE}optimizer.lr",)
_BATCH_SIZE = (f"{_STAGE}batch_size",)
_ACCUMULATION = (f"{_STAGE}gradient_accumulation_steps",)
_CLIPPING = (f"{_STAGE}max_grad_norm",)
_DURATION = (f"{_STAGE}epochs", f"{_STAGE}steps")
_WARMUP = (f"{_STAGE}schedule.warmup_steps",)
_PRECISION = ("train.precision",)
_DEVICE = ("train.device",)
_SIZE = ("model.encoder.image_size",)
_LORA = (f"{_STAGE}lora",)
_PARTS = (f"{_STAGE}parts",)
_LR_MULTIPLIERS = (f"{_STAGE}optimizer.lr_multipliers",)
_PACK = (f"{_STAGE}pack_to",)
_PRETRAINED = ("model.language_model", "model.encoder")

SETTINGS: Mapping[str, tuple[str, ...]] = {
    # Our own names, which may be given in the wrong place.
    "batch_size": _BATCH_SIZE,
    "gradient_accumulation_steps": _ACCUMULATION,
    "max_grad_norm": _CLIPPING,
    "gradient_checkpointing": (f"{_STAGE}gradient_checkpointing",),
    "num_workers": ("train.num_workers",),
    "num_threads": ("train.num_threads",),
    # Batch size and gradient accumulation.
    **dict.fromkeys(("per_device_train_batch_size", "train_batch_size", "bs"), _BATCH_SIZE),
    **dict.fromkeys(("micro_batch_size", "per_gpu_train_batch_size", "device_batch_size"), _BATCH_SIZE),
    **dict.fromkeys(("accumulate_grad_batches", "grad_accum"), _ACCUMULATION),
    **dict.fromkeys(("gradient_accumulation", "accumulation_steps", "accum_iter"), _ACCUMULATION),
    # Duration of training.
    **dict.fromkeys(("epochs", "num_epochs", "num_train_epochs", "max_epochs", "n_epochs"), _DURATION),
    **dict.fromkeys(("steps", "max_steps", "num_steps", "train_steps", "max_iters"), (f"{_STAGE}steps",)),
    **dict.fromkeys(("total_steps", "iterations", "num_iterations"), (f"{_STAGE}steps",)),
    **dict.fromkeys(("minutes", "max_time"), (f"{_STAGE}minutes",)),
    # Optimizer and learning rate.
    **dict.fromkeys(("lr", "learning_rate", "base_lr", "max_lr", "peak_lr"), _LR),
    **dict.fromkeys(("optimizer", "optim", "optimizer_type"), (f"{_STAGE}optimizer.name",)),
    **dict.fromkeys(("weight_decay", "wd"), (f"{_STAGE}optimizer.weight_decay",)),
    **dict.fromkeys(("momentum",), (f"{_STAGE}optimizer.momentum",)),
    **dict.fromkeys(("betas", "adam_beta1", "adam_beta2", "beta1", "beta2"), (f"{_STAGE}optimizer.betas",)),
    **dict.fromkeys(("eps", "adam_epsilon", "epsilon"), (f"{_STAGE}optimizer.eps",)),
    **dict.fromkeys(("warmup", "warmup_steps", "warmup_ratio", "num_warmup_steps"), _WARMUP),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_scheduler_type"), (f"{_STAGE}schedule.name",)),
    **dict.fromkeys(("min_lr", "min_lr_rate", "lr_min"), (f"{_STAGE}schedule.min_lr_ratio",)),
    **dict.fromkeys(("grad_clip", "gradient_clip_val", "clip_grad"), _CLIPPING),
    **dict.fromkeys(("clip_grad_norm", "gradient_clipping"), _CLIPPING),
    # Precision, devices, threads, checkpoints and logging.
    **dict.fromkeys(("fp16", "bf16", "fp32", "half", "amp", "dtype", "torch_dtype"), _PRECISION),
    **dict.fromkeys(("mixed_precision",), _PRECISION),
    **dict.fromkeys(("gpu", "gpus", "cuda", "no_cuda", "use_cpu", "accelerator", "devices"), _DEVICE),
    **dict.fromkeys(("use_gpu", "device_map"), _DEVICE),
    **dict.fromkeys(("dataloader_num_workers", "n_workers"), ("train.num_workers",)),
    **dict.fromkeys(("n_threads",), ("train.num_threads",)),
    **dict.fromkeys(("grad_checkpointing",), (f"{_STAGE}gradient_checkpointing",)),
    **dict.fromkeys(("save_steps", "save_interval", "checkpoint_every"), ("train.save_every",)),
    **dict.fromkeys(("logging_steps", "log_interval", "log_steps"), ("train.log_every",)),
    **dict.fromkeys(
        ("eval_steps", "eval_interval", "eval_every", "val_check_interval"), ("train.validate_every",)
    ),
    **dict.fromkeys(("max_eval_samples", "limit_val_batches"), ("train.validate_images",)),
    **dict.fromkeys(("ema_decay", "use_ema"), (f"{_STAGE}ema",)),
    **dict.fromkeys(("load_best_model_at_end",), ("train.keep",)),
    **dict.fromkeys(("metric_for_best_model",), ("train.best_by",)),
    **dict.fromkeys(("early_stopping_patience", "early_stopping"), ("train.patience",)),
    **dict.fromkeys(("load_in_4bit", "load_in_8bit", "quantization_config"), ("train.quantize",)),
    **dict.fromkeys(("fsdp", "fsdp_config", "fsdp_size", "fully_shard"), ("mesh.shard",)),
    **dict.fromkeys(("random_seed", "manual_seed", "random_state", "data_seed", "seed"), ("seed",)),
    # Images, texts and data.
    **dict.fromkeys(("image_size", "img_size", "imgsz", "input_size", "resolution"), _SIZE),
    **dict.fromkeys(("max_seq_length", "max_seq_len", "seq_len", "max_length"), ("inputs.max_length",)),
    **dict.fromkeys(("model_max_length", "cutoff_len", "block_size"), ("inputs.max_length",)),
    **dict.fromkeys(
        ("dataset", "datasets", "dataset_name", "train_file", "data_path", "data_dir"), ("data",)
    ),
    **dict.fromkeys(("max_train_samples", "max_samples"), ("data.0.limit",)),
    **dict.fromkeys(("max_new_tokens",), ("evaluate.max_tokens",)),
    # The model.
    **dict.fromkeys(("lora_r", "lora_rank", "lora_alpha", "peft", "peft_config", "use_peft"), _LORA),
    **dict.fromkeys(("lora",), _LORA),
    **dict.fromkeys(("llm", "backbone", "decoder"), ("model.language_model",)),
    **dict.fromkeys(("vision_tower", "vision_encoder", "image_encoder", "encoder"), ("model.encoder",)),
    **dict.fromkeys(("projector", "mm_projector_type", "connector"), ("model.connector",)),
    **dict.fromkeys(("fusion", "fusion_layer"), ("model.fusion",)),
    **dict.fromkeys(("model_name_or_path", "pretrained_model_name_or_path"), _PRETRAINED),
    **dict.fromkeys(("resume_from_checkpoint", "init_checkpoint"), ("init_from",)),
    **dict.fromkeys(("run_name", "name", "experiment_name"), ("title",)),
    # Names used by nanoVLM, LLaMA-Factory and Lightning.
    **dict.fromkeys(("lr_mp", "lr_vision_backbone", "lr_language_backbone"), _LR_MULTIPLIERS),
    **dict.fromkeys(("max_training_steps",), (f"{_STAGE}steps",)),
    **dict.fromkeys(("max_sample_length", "lm_max_length"), ("inputs.max_length",)),
    **dict.fromkeys(("stats_log_interval", "log_every_n_steps"), ("train.log_every",)),
    **dict.fromkeys(("every_n_train_steps",), ("train.save_every",)),
    **dict.fromkeys(("resume_from_vlm_checkpoint", "ckpt_path"), ("init_from",)),
    **dict.fromkeys(("vit_img_size",), _SIZE),
    **dict.fromkeys(("vit_model_type",), ("model.encoder",)),
    **dict.fromkeys(("lm_model_type",), ("model.language_model",)),
    **dict.fromkeys(("train_dataset_path", "train_dataset_name"), ("data",)),
    **dict.fromkeys(("val_size", "val_ratio"), ("data.0.validation",)),
    **dict.fromkeys(("finetuning_type", "lora_target", "lora_dropout", "use_dora"), _LORA),
    **dict.fromkeys(("quantization_bit",), ("train.quantize",)),
    **dict.fromkeys(("freeze_vision_tower", "freeze_language_model"), _PARTS),
    **dict.fromkeys(("freeze_multi_modal_projector",), _PARTS),
    **dict.fromkeys(("packing", "neat_packing"), _PACK),
    **dict.fromkeys(("seed_everything",), ("seed",)),
}
"""Paths of the recipe settings that correspond to each name in another library."""

OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("output_dir", "out_dir", "save_dir", "default_root_dir"), "--out (out= in Python)"),
    **dict.fromkeys(("out", "project"), "--out (out= in Python)"),
    **dict.fromkeys(("overwrite_output_dir", "overwrite"), "--overwrite (overwrite=True in Python)"),
}
"""Command-line options that correspond to another library's name, where there is no recipe setting."""

NOTES: Mapping[str, str] = {
    **dict.fromkeys(
        ("report_to", "logging_dir", "use_wandb", "log_wandb", "wandb", "tensorboard"),
        "Every run writes metrics.jsonl, TensorBoard events and report.html; train.trackers adds wandb and mlflow.",
    ),
}
"""Explanations for other libraries' names that need no counterpart here."""


def hint(word: str, *, path: str = "") -> str:
    """A sentence that gives our name for another library's setting; empty if the word is unknown.

    Args:
        word: The unknown key.
        path: Path of the key, such as ``train.stages.0.lr``; the setting at this exact path is not suggested.
    """
    if word in NOTES:
        return NOTES[word]
    if word in OPTIONS:
        return f"Use the option {OPTIONS[word]} instead of a setting."
    known = SETTINGS.get(word) or tuple(old_names.settings_of(word))
    found = [setting for setting in known if setting != path]
    return f"The setting is called {' or '.join(found)}." if found else ""


OPTION_WORDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("output", "output_dir", "output_path", "output_file", "out_dir", "save_dir"), ("--out",)
    ),
    **dict.fromkeys(("save_path", "project", "outdir"), ("--out",)),
    **dict.fromkeys(("overwrite_output_dir", "force"), ("--overwrite",)),
    **dict.fromkeys(("max_new_tokens", "max_length", "max_output_tokens", "n_predict"), ("--max-tokens",)),
    **dict.fromkeys(("beam_size", "beam"), ("--num-beams",)),
    **dict.fromkeys(("do_sample", "sample"), ("--decoding",)),
    **dict.fromkeys(("temp",), ("--temperature",)),
    **dict.fromkeys(("random_seed", "manual_seed", "random_state"), ("--seed",)),
    **dict.fromkeys(("trust_remote_code",), ("--trust-run",)),
    **dict.fromkeys(
        ("dataset", "datasets", "dataset_name", "data_path", "data_dir", "train_file"), ("--data",)
    ),
    **dict.fromkeys(("input", "input_file", "tasks_file"), ("--data",)),
    **dict.fromkeys(
        ("limit", "max_samples", "num_samples", "max_eval_samples"), ("--max-images", "--samples")
    ),
    **dict.fromkeys(("num_workers", "n_workers", "nproc"), ("--workers", "--jobs")),
    **dict.fromkeys(("num_threads", "n_threads"), ("--threads",)),
    **dict.fromkeys(("lang", "language", "target_language", "tgt_lang", "format", "target"), ("--to",)),
    **dict.fromkeys(("max_time",), ("--minutes",)),
    **dict.fromkeys(("no_cache", "overwrite_cache"), ("--fresh",)),
}
"""Our command-line options by their names in other programs; each command has only some of these options."""
_TAKE_OTHER_VALUES = (
    *_PRECISION,
    *_DEVICE,
    *_LORA,
    *_PRETRAINED,
    *_PARTS,
    *_LR_MULTIPLIERS,
    f"{_STAGE}schedule.min_lr_ratio",
    *_PACK,
    "train.quantize",
)
"""Settings whose values have another form than in other libraries, so that a given value must not be suggested with them."""


def option_hint(option: str, value: str, known: Sequence[str]) -> str:
    """A sentence that gives our name for an unknown command-line option; empty if the word is unknown.

    Args:
        option: The option as the user gave it, such as ``--batch-size``.
        value: The value given with the option; empty for none.
        known: The command's own options and arguments, such as ``--out`` and ``settings``.
    """
    word = option.lstrip("-").replace("-", "_").lower()
    own = next((name for name in OPTION_WORDS.get(word, ()) if name in known), "")
    if own:
        return f"The option is called {own}."
    if word in NOTES:
        return NOTES[word]
    found = SETTINGS.get(word, ())
    if not found:
        return ""
    if "settings" not in known:
        return f"This is a training setting, {' or '.join(found)}; this command has no such option."
    if value and found[0] not in _TAKE_OTHER_VALUES:
        return f"Write settings without dashes: {found[0]}={value}."
    return f"Write settings without dashes, as path=value; this one is called {' or '.join(found)}."
