"""SFT, reward, DPO and PPO training. Planned, not built yet."""

from enfold.base.lazy import room_not_built

__getattr__ = room_not_built(__name__)
