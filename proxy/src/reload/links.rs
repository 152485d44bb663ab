//! Which directories decide what a path means.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Component, Path, PathBuf},
};

/// Links that are followed in all, as many as Linux does.
const LINKS: usize = 40;

/// The directories that hold the file itself or a symbolic link on the way to it. A mounted
/// Kubernetes ConfigMap has two of the latter in a row: `file -> ..data/file`, `..data -> ..2030_01`,
/// and an update swaps the second.
///
/// As far as the way can be gone: where something is missing, it ends with the directory that would
/// hold it.
pub(super) fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut deciding = BTreeSet::new();
    let mut here = PathBuf::from("/");
    let mut ahead = reversed(path);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        match next.read_link() {
            Ok(target) if links < LINKS => {
                links += 1;
                deciding.insert(here.clone());
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                ahead.extend(reversed(&target));
            }
            _ if ahead.is_empty() || !next.is_dir() => {
                deciding.insert(here);
                break;
            }
            _ => here = next,
        }
    }
    deciding
}

/// The steps of a path, the first one last.
fn reversed(path: &Path) -> Vec<OsString> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A directory without links in its own path.
    fn root() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        (dir, root)
    }

    fn set<const N: usize>(paths: [PathBuf; N]) -> BTreeSet<PathBuf> {
        paths.into()
    }

    #[test]
    fn a_plain_file_is_in_its_directory() {
        let (_dir, root) = root();
        fs::write(root.join("file"), "").unwrap();
        assert_eq!(directories(&root.join("file")), set([root.clone()]));
        assert_eq!(directories(&root.join("./x/../file")), set([root.clone()]));
        assert_eq!(directories(&root.join("missing")), set([root]));
    }

    #[test]
    fn a_config_map_is_in_two() {
        let (_dir, root) = root();
        fs::create_dir(root.join("..1")).unwrap();
        fs::write(root.join("..1/file"), "").unwrap();
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/file", root.join("file")).unwrap();
        assert_eq!(directories(&root.join("file")), set([root.clone(), root.join("..1")]));
    }

    #[test]
    fn absolute_links_and_linked_directories_are_followed() {
        let (_dir, root) = root();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("c")).unwrap();
        fs::write(root.join("c/file"), "").unwrap();
        symlink(root.join("c/file"), root.join("a/b/link")).unwrap();
        symlink("a/b", root.join("way")).unwrap();
        let expected = set([root.clone(), root.join("a/b"), root.join("c")]);
        assert_eq!(directories(&root.join("way/link")), expected);
        symlink("../../c/file", root.join("a/b/up")).unwrap();
        assert_eq!(directories(&root.join("a/b/up")), set([root.join("a/b"), root.join("c")]));
    }

    #[test]
    fn a_circle_ends() {
        let (_dir, root) = root();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(directories(&root.join("a")), set([root]));
    }
}
