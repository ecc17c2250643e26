"""Where functions run: environments in pools, the Runtime API that they speak, and what starts each runtime."""

__all__: list[str] = []
