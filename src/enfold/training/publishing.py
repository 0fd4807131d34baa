"""A run's model on a hub, with a card: at the end, or with each checkpoint while the run goes on."""

import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from enfold.base.logging import get_logger
from enfold.training.card import NAME, Facts, model_card
from enfold.training.checkpoints import PREFIX

# Of a checkpoint, what only a run that resumes needs.
_OF_THE_RUN = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "trainer_state.json")
_STAYS = [f"{PREFIX}-*", "_*", ".*", "wandb/*", "mlruns/*"]
_logger = get_logger("enfold.training")


class Publishing:
    """The part of `Trainer` that writes cards and pushes."""

    _hub_id: str | None = None
    _pushes: list[Future]
    _pool: ThreadPoolExecutor | None = None

    def init_hf_repo(self: Any, token: str | None = None, private: bool | None = None) -> None:
        """Open the repository `hub_model_id`, or create it.

        Raises:
            HubError and its kin: what the hub said.
        """
        if not self.is_world_process_zero():
            return
        from enfold.hub.push import open_repository

        args = self.args
        wanted = args.hub_model_id or Path(args.output_dir).absolute().name
        private = args.hub_private_repo if private is None else private
        self._hub_id = open_repository(wanted, private=private, token=token or args.hub_token)

    @property
    def hub_model_id(self) -> str | None:
        """The whole id of the repository, once it is open."""
        return self._hub_id

    def create_model_card(
        self: Any,
        language: str | list[str] | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write `README.md` into the output folder: metadata, arguments, results and log of the run.

        Args:
            language, license: the base model's, where the cache holds its card.
            tags: beside "enfold" and "generated_from_trainer".
            model_name: the output folder's name by default.
            finetuned_from: the base model's repository; by default the one that the model was loaded from.
            tasks: the model's head tells by default.
            dataset_tags, dataset, dataset_args: ids on a hub, names and configurations of the data.
        """
        if self.is_world_process_zero():
            facts = Facts(
                language, license, tags, model_name, finetuned_from, tasks, dataset_tags, dataset, dataset_args
            )
            folder = Path(self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / NAME).write_text(model_card(self, facts), encoding="utf-8")

    def push_to_hub(
        self: Any,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **card: Any,
    ) -> "str | Future | None":
        """Save the model and its card into the output folder, and upload that without the checkpoints.

        Args:
            blocking: wait for it.
            card: what `create_model_card` takes.

        Returns:
            the commit's address, or a future of it if not `blocking`; None on all processes but the first.

        Raises:
            HubError and its kin: what the hub said.
        """
        from enfold.hub.push import push_folder

        args = self.args
        self.tell("on_push_begin")
        if self._hub_id is None:
            self.init_hf_repo(token, private)
        self._write_model(Path(args.output_dir))
        if not self.is_world_process_zero():
            return None
        assert self._hub_id is not None
        repo_id = self._hub_id
        self.create_model_card(**{"model_name": repo_id.split("/")[-1], **card})
        self._finish_current_push()
        message = commit_message or "Upload with enfold"

        def push() -> str:
            return push_folder(
                args.output_dir,
                repo_id,
                token=token or args.hub_token,
                commit_message=message,
                revision=revision or args.hub_revision,
                ignore_patterns=_STAYS,
            )

        return push() if blocking else self._later(push)

    def _push_checkpoint(self: Any, folder: Path) -> None:
        """Upload a checkpoint's model while the run goes on, and all of it where `hub_strategy` says so."""
        args = self.args
        if not args.push_to_hub or args.hub_strategy == "end":
            return
        if not args.hub_always_push and any(not push.done() for push in self._pushes):
            return
        self.tell("on_push_begin")
        if self._hub_id is None:
            self.init_hf_repo()
        assert self._hub_id is not None
        repo_id = self._hub_id
        step, epoch = self.state.global_step, int(self.state.epoch)
        at = f"epoch {epoch}" if args.save_strategy == "epoch" else f"step {step}"
        options: dict[str, Any] = {"token": args.hub_token, "revision": args.hub_revision}
        # The checkpoint may be removed before it is uploaded: links keep its files.
        staged = Path(tempfile.mkdtemp(prefix=".push-", dir=args.output_dir))
        model = staged / "model"
        _link(folder, model, leave=_OF_THE_RUN)
        (model / NAME).write_text(model_card(self, Facts(model_name=repo_id.split("/")[-1])), encoding="utf-8")
        whole = None
        if args.hub_strategy in ("checkpoint", "all_checkpoints"):
            whole = staged / "whole"
            _link(folder, whole)
        place = "last-checkpoint" if args.hub_strategy == "checkpoint" else folder.name

        def push() -> str:
            from enfold.hub.push import push_folder

            try:
                done = push_folder(model, repo_id, commit_message=f"Training in progress, {at}", **options)
                if whole is not None:
                    message = f"Training in progress, {at}, checkpoint"
                    done = push_folder(whole, repo_id, path_in_repo=place, commit_message=message, **options)
                return done
            except Exception as error:
                # A hub that can't be reached for a while is no reason to lose a run.
                _logger.warning("The checkpoint of %s was not pushed to %s: %s", at, repo_id, error)
                raise
            finally:
                shutil.rmtree(staged, ignore_errors=True)

        self._later(push)

    def _later(self, push: Callable[[], str]) -> Future:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="push")
        self._pushes = [held for held in self._pushes if not held.done()]
        self._pushes.append(self._pool.submit(push))
        return self._pushes[-1]

    def _finish_current_push(self) -> None:
        """Wait for what is being pushed; failures were told."""
        for push in self._pushes:
            push.exception()
        self._pushes = []


def _link(source: Path, target: Path, leave: tuple[str, ...] = ()) -> None:
    """The files of a folder in another one, without copying where the file system can."""
    for path in source.rglob("*"):
        if path.is_file() and path.name not in leave:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except OSError:
                shutil.copy2(path, place)
