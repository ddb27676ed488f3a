"""A recipe for tests, to be varied."""

from stages.config.params import Recipe


def recipe_with(**changes: object) -> Recipe:
    """AdamW at a constant rate for two epochs of small batches, the best of them kept."""
    recipe = Recipe(
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.0,
        beta2=0.999,
        schedule="constant",
        epochs=2,
        patience=2,
        keep="best",
        ema=0.0,
        batch_size=4,
        layer_decay=1.0,
        head_epochs=0,
        drop_path=0.0,
        mixup=0.0,
        cache_views=0,
        devices=1,
        num_nodes=1,
        strategy="auto",
    )
    return recipe.model_copy(update=changes)
