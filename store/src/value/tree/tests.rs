//! The tree against a plain vector, under random edits and with shared copies.

use super::Tree;

fn pairs(tree: &Tree<u32, u32>) -> Vec<(u32, u32)> {
    tree.iter().map(|(key, value)| (*key, *value)).collect()
}

#[test]
fn random_edits_equal_those_of_a_vector() {
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..40 {
        let mut tree: Tree<u32, u32> = Tree::default();
        let mut model: Vec<(u32, u32)> = Vec::new();
        let mut copies = Vec::new();
        // Some rounds mostly grow, others mostly shrink.
        let growing = 3 + round % 5;
        for step in 0..3_000_u32 {
            if random.u32(..10) < growing || model.is_empty() {
                let key = random.u32(..5_000);
                match tree.rank(|other| other.cmp(&key)) {
                    Ok(at) => {
                        assert_eq!(model[at].0, key);
                        if let Some(value) = tree.at_mut(at) {
                            *value = step;
                        }
                        model[at].1 = step;
                    }
                    Err(at) => {
                        assert_eq!(model.partition_point(|pair| pair.0 < key), at);
                        tree.insert_at(at, key, step);
                        model.insert(at, (key, step));
                    }
                }
                assert_eq!(tree.get(|other| other.cmp(&key)), Some((&key, &step)));
            } else {
                let at = random.usize(..model.len());
                assert_eq!(tree.remove_at(at), Some(model.remove(at)));
            }
            assert_eq!(tree.len(), model.len());
            if step % 500 == 0 {
                copies.push((tree.clone(), model.clone()));
            }
        }
        assert_eq!(pairs(&tree), model);
        for (tree, model) in copies {
            assert_eq!(pairs(&tree), model);
        }
    }
}

#[test]
fn positional_growth_at_both_ends() {
    let mut tree: Tree<(), u32> = Tree::default();
    let mut model = std::collections::VecDeque::new();
    for value in 0..10_000 {
        if value % 3 == 0 {
            tree.insert_at(0, (), value);
            model.push_front(value);
        } else {
            tree.insert_at(tree.len(), (), value);
            model.push_back(value);
        }
    }
    assert!(tree.iter().map(|(_, value)| value).eq(model.iter()));
    assert!(
        tree.iter()
            .rev()
            .map(|(_, value)| value)
            .eq(model.iter().rev())
    );
    while let Some(expected) = model.pop_front() {
        assert_eq!(tree.remove_at(0).map(|(_, value)| value), Some(expected));
        if let Some(expected) = model.pop_back() {
            assert_eq!(
                tree.remove_at(tree.len() - 1).map(|(_, value)| value),
                Some(expected)
            );
        }
    }
    assert_eq!(tree.len(), 0);
    assert!(tree.remove_at(0).is_none());
}

#[test]
fn ranges_are_cut_to_the_length() {
    let tree: Tree<u32, u32> = (0..300).map(|key| (key, key)).collect();
    assert!(tree.range(10, 200).map(|(key, _)| *key).eq(10..200));
    assert!(tree.range(290, 900).map(|(key, _)| *key).eq(290..300));
    assert_eq!(tree.range(400, 900).count(), 0);
    let mut both = tree.range(5, 9);
    assert_eq!(both.next().map(|(key, _)| *key), Some(5));
    assert_eq!(both.next_back().map(|(key, _)| *key), Some(8));
    assert_eq!(both.len(), 2);
    assert_eq!(tree.at(299), Some((&299, &299)));
    assert_eq!(tree.at(300), None);
}
