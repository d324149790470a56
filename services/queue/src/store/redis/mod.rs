//! stub
use crate::core::Limits;
#[derive(Debug, Clone)]
pub struct Settings {
    pub limits: Limits,
    pub calls: usize,
    pub bytes: usize,
}
