//! Lists that come in pages, up to as many rows as were asked for.

use clap::Args;

/// Rows of one page at most.
const PAGE: usize = 1_000;

/// How many rows.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Limit {
    /// Rows at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// That there are more is not told: whoever asks has no such option.
    #[arg(skip)]
    silent: bool,
}

impl Limit {
    /// That many rows.
    pub(crate) fn of(limit: u32) -> Self {
        Self { limit, silent: false }
    }

    /// That many rows, and not a word of more.
    pub(crate) fn silently(limit: u32) -> Self {
        Self { limit, silent: true }
    }

    /// All rows that there are.
    pub(crate) fn none() -> Self {
        Self::of(u32::MAX)
    }

    /// Follows page tokens until there are enough rows or no more pages. `page` is given a
    /// page's size and token, and gives its rows and the next page's token.
    pub(crate) async fn gather<T>(
        self,
        page: impl AsyncFn(u32, String) -> Result<(Vec<T>, String), tonic::Status>,
    ) -> anyhow::Result<Vec<T>> {
        let limit = self.limit as usize;
        let (mut rows, mut token) = (Vec::new(), String::new());
        loop {
            let size = (limit - rows.len()).min(PAGE);
            let (found, next) = page(size as u32, token).await?;
            rows.extend(found);
            token = next;
            if token.is_empty() || rows.len() >= limit {
                break;
            }
        }
        rows.truncate(limit);
        if !token.is_empty() && !self.silent {
            tell!("nova: there are more than {limit}; --limit shows more");
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn numbers(count: u32, limit: u32) -> Vec<u32> {
        let page = async |size: u32, token: String| {
            let from: u32 = token.parse().unwrap_or(0);
            let to = (from + size.min(3)).min(count);
            let next = if to < count { to.to_string() } else { String::new() };
            Ok(((from..to).collect(), next))
        };
        Limit::of(limit).gather(page).await.unwrap()
    }

    #[tokio::test]
    async fn pages_are_followed_to_the_limit_or_the_end() {
        assert_eq!(numbers(7, 5).await, [0, 1, 2, 3, 4]);
        assert_eq!(numbers(7, 50).await, [0, 1, 2, 3, 4, 5, 6]);
        assert!(numbers(0, 50).await.is_empty());
    }
}
