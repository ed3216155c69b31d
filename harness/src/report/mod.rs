//! A run for people and machines: the table, the page, JUnit XML, JSON.

pub mod exit_code;
pub mod figure;
pub mod junit;
pub mod offline;
pub mod page;
pub mod place;
pub mod scenario;
pub mod sections;
pub mod setting;
pub mod summary;
pub mod terminal;
pub mod text;
pub mod words;
