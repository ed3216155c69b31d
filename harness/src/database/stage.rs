//! Items for a deployment whose API cannot create them: the caller's own statement makes one, or brings one that is there
//! into its first state.

use futures::future::BoxFuture;

use crate::{database::books::Books, target::probe::Stager};

/// The statement, the database it runs in, and the items it may use.
pub struct Stage {
    books: Books,
    sql: String,
    items: Vec<String>,
    staged: usize,
}

impl Stage {
    /// Connects. Without items of the caller's, the statement returns each new one's id.
    pub async fn open(database_url: &str, sql: &str, items: &[String]) -> Result<Self, String> {
        let books = Books::open(database_url).await?;
        Ok(Stage { books, sql: sql.to_owned(), items: items.to_vec(), staged: 0 })
    }

    /// Runs it; the items that there are take turns.
    pub async fn item(&mut self, name: &str, total: i64) -> Result<String, String> {
        let item = self.items.get(self.staged % self.items.len().max(1)).cloned();
        self.staged += 1;
        let returned = self.books.stage(&self.sql, name, total, item.as_deref()).await?;
        item.or(returned).ok_or_else(|| "--stage-sql returned no id, and no --item was given".to_owned())
    }
}

impl Stager for Stage {
    fn stage<'s>(&'s mut self, name: &'s str, total: i64) -> BoxFuture<'s, Result<String, String>> {
        Box::pin(self.item(name, total))
    }
}
