//! Leaderboards on sorted sets.

use ferrite_wasm_sdk::*;

/// Enters a score, of which the best counts; the player's rank and best score.
#[ferrite_function]
pub fn leaderboard_submit(board: &str, player: &str, score: f64) -> Result<(i64, String), Error> {
    ferrite::call::<()>("ZADD", (board, "GT", score, player))?;
    let rank: i64 = ferrite::call("ZREVRANK", (board, player))?;
    Ok((rank + 1, ferrite::call("ZSCORE", (board, player))?))
}

/// A page of a board: rank, name and score of each player.
#[ferrite_function]
pub fn leaderboard_page(
    board: &str,
    names: &str,
    page: i64,
    size: i64,
) -> Result<Vec<(i64, String, String)>, Error> {
    let first = (page - 1) * size;
    let range = (board, first, first + size - 1, "WITHSCORES");
    let found: Vec<String> = ferrite::call("ZREVRANGE", range)?;
    let mut page = Vec::new();
    for (pair, rank) in found.chunks_exact(2).zip(first + 1..) {
        let name = ferrite::hget(names, &pair[0])?.unwrap_or_else(|| pair[0].clone());
        page.push((rank, name, pair[1].clone()));
    }
    Ok(page)
}
