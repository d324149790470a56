//! What a page points to is there.

use nova_repo::files::{self, File};
use nova_repo::markdown;

#[test]
fn each_link_of_each_page_resolves() {
    let pages = files::with_extension("md");
    let broken: Vec<_> = pages.iter().flat_map(broken_links).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

fn broken_links(page: &File) -> Vec<String> {
    let links = markdown::links(&page.text).into_iter();
    let broken = links.filter(|(_, target)| !is_elsewhere(target) && !resolves(page, target));
    broken.map(|(line, target)| format!("{}:{line} points to {target}", page.path)).collect()
}

fn is_elsewhere(target: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

fn resolves(page: &File, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let place = files::root().join(folder).join(path);
    if path.is_empty() {
        return has_anchor(&page.text, anchor);
    }
    if anchor.is_empty() {
        return place.exists();
    }
    std::fs::read_to_string(place).is_ok_and(|text| has_anchor(&text, anchor))
}

fn has_anchor(text: &str, anchor: &str) -> bool {
    markdown::headings(text).iter().any(|heading| markdown::anchor(heading) == anchor)
}
