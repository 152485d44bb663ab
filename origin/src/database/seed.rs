//! The products of a new database: a small shop, the same on every machine.

use rusqlite::{Connection, Result, params};

/// What is sold: name, what it is good for, price in cents.
const ITEMS: [(&str, &str, i64); 40] = [
    ("Stoneware Mug", "holds a third of a litre and keeps it warm", 1_450),
    ("Linen Apron", "has two deep pockets and washes at sixty degrees", 3_200),
    ("Walnut Cutting Board", "is kind to knives and oiled by hand", 4_800),
    ("Cast Iron Pan", "goes from the stove into the oven", 5_900),
    ("Copper Kettle", "boils a litre in four minutes", 8_900),
    ("Glass Carafe", "pours without a drop on the table", 2_400),
    ("Chef's Knife", "is forged from one piece and holds its edge", 9_500),
    ("Pepper Mill", "grinds from coarse to dust", 3_600),
    ("Bread Basket", "folds flat when it is empty", 1_900),
    ("Tea Towel", "dries a dinner's worth of plates", 1_100),
    ("Desk Lamp", "turns in every joint and glares at nobody", 7_400),
    ("Floor Lamp", "reads over your shoulder", 14_900),
    ("Reading Chair", "is meant for long novels", 32_900),
    ("Oak Stool", "stands still on uneven floors", 8_200),
    ("Bookshelf", "carries forty kilograms a board", 19_500),
    ("Wall Clock", "runs for two years on one battery", 4_300),
    ("Alarm Clock", "wakes you once, and means it", 2_900),
    ("Wool Blanket", "is woven from one flock's wool", 11_200),
    ("Down Pillow", "keeps its shape until morning", 6_100),
    ("Cotton Sheet", "gets softer with each wash", 4_900),
    ("Bath Towel", "dries a grown person", 2_600),
    ("Soap Dish", "lets the water out", 950),
    ("Notebook", "opens flat and takes ink on both sides", 1_250),
    ("Fountain Pen", "starts to write at once", 5_400),
    ("Pencil Case", "has room for twelve and a sharpener", 1_800),
    ("Letter Opener", "works on parcels, too", 1_600),
    ("Canvas Backpack", "keeps a laptop dry in the rain", 12_500),
    ("Leather Wallet", "fits a front pocket", 5_800),
    ("Umbrella", "turns inside out and back again", 3_900),
    ("Water Bottle", "does not leak upside down", 2_200),
    ("Lunch Box", "has two rooms that do not mix", 2_700),
    ("Bicycle Bell", "is heard and not resented", 1_350),
    ("Picnic Rug", "is dry underneath", 4_400),
    ("Garden Trowel", "will outlive the garden", 1_950),
    ("Watering Can", "rains gently", 3_300),
    ("Plant Pot", "drains into its own saucer", 1_700),
    ("Bird Feeder", "is beyond the reach of squirrels", 2_800),
    ("Chess Set", "has weighted pieces", 6_900),
    ("Playing Cards", "shuffle well for years", 850),
    ("Jigsaw Puzzle", "has a thousand pieces, and none is sky", 2_300),
];

/// In which kinds it is sold: name, for whom, price in percent.
const KINDS: [(&str, &str, i64); 25] = [
    ("Classic", "the one that was always there", 100),
    ("Compact", "for small rooms", 85),
    ("Grand", "for large ones", 140),
    ("Everyday", "for use without ceremony", 90),
    ("Sunday", "for days with ceremony", 125),
    ("Travel", "for a life out of a suitcase", 95),
    ("Student", "for a first home", 70),
    ("Studio", "for those who work where they live", 110),
    ("Workshop", "for those who work with their hands", 115),
    ("Harbour", "in the blue of the sea", 105),
    ("Meadow", "in the green of May", 105),
    ("Ember", "in a warm red", 105),
    ("Chalk", "in a dry white", 100),
    ("Slate", "in a quiet grey", 100),
    ("Saffron", "in a bright yellow", 105),
    ("Midnight", "in a blue that is nearly black", 110),
    ("Nordic", "in pale colours", 120),
    ("Alpine", "for the cold", 130),
    ("Coastal", "for salt and wind", 120),
    ("Heritage", "after a pattern of 1920", 150),
    ("Minimal", "with nothing to spare", 95),
    ("Signature", "with the maker's mark", 160),
    ("Limited", "from a numbered series", 180),
    ("Second", "with a small flaw, and cheaper for it", 55),
    ("Gift", "wrapped, with a card", 115),
];

/// Inserts `count` products with names of their own, dates included in what is always the same.
pub(super) fn plant(connection: &Connection, count: u32) -> Result<()> {
    let mut insert = connection.prepare(
        "INSERT INTO products (name, description, price_cents, date_created, date_modified)
         VALUES (?1, ?2, ?3,
                 strftime('%Y-%m-%dT%H:%M:%fZ', '2024-01-08 09:00', ?4 || ' minutes'),
                 strftime('%Y-%m-%dT%H:%M:%fZ', '2024-01-08 09:00', ?5 || ' minutes'))",
    )?;
    for (number, seed) in (0..i64::from(count)).zip(seeds()) {
        let created = number * 5;
        let modified = created + number * 7_919 % 40_000;
        insert.execute(params![seed.name, seed.description, seed.cents, created, modified])?;
    }
    Ok(())
}

struct Seed {
    name: String,
    description: String,
    cents: i64,
}

/// Every item in every kind; then the same again, as another edition, without end.
fn seeds() -> impl Iterator<Item = Seed> {
    (1_u32..).flat_map(|edition| {
        // One item after another, each time in another kind: the list looks like a shop, not like
        // a table of combinations.
        (0..KINDS.len()).flat_map(move |round| {
            let kinds = KINDS.iter().cycle().skip(round);
            ITEMS.iter().zip(kinds).map(move |(item, kind)| seed(*item, *kind, edition))
        })
    })
}

fn seed(
    (item, quality, cents): (&str, &str, i64),
    (kind, purpose, percent): (&str, &str, i64),
    edition: u32,
) -> Seed {
    let edition = if edition == 1 { String::new() } else { format!(", Edition {edition}") };
    Seed {
        name: format!("{kind} {item}{edition}"),
        description: format!("This {} {quality}. The {kind} is {purpose}.", item.to_lowercase()),
        cents: cents * percent / 500 * 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_over_several_editions() {
        let names: HashSet<String> = seeds().take(2_500).map(|seed| seed.name).collect();
        assert_eq!(names.len(), 2_500);
    }

    #[test]
    fn the_first_thousand_are_the_first_edition() {
        assert!(seeds().take(1_000).all(|seed| !seed.name.contains("Edition")));
        assert_eq!(seeds().nth(1_000).unwrap().name, "Classic Stoneware Mug, Edition 2");
    }

    #[test]
    fn nothing_is_free() {
        assert!(seeds().take(1_000).all(|seed| seed.cents > 400));
    }
}
