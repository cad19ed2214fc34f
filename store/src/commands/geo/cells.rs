//! Cells of the earth's surface, their numbers, and distances.
//!
//! Longitude and latitude are halved again and again; the bits that say which half a place is in,
//! taken in turn, number its cell. With 26 bits each the number is the score of a place in a sorted
//! set, so that places near each other mostly have scores near each other.

/// Halvings of each direction in a score.
pub(super) const STEPS_MAX: u32 = 26;

/// The highest longitude, east, in degrees.
const LONGITUDE_MAX: f64 = 180.0;
/// The highest latitude, north, in degrees: where the Mercator projection becomes a square.
const LATITUDE_MAX: f64 = 85.051_128_78;
/// Mean radius of the earth, in metres, as Redis has it.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
/// Half the earth's circumference in the Mercator projection, in metres.
const MERCATOR_MAX: f64 = 20_037_726.37;

/// A place on earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

/// The sides of a box, in degrees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) west: f64,
    pub(super) south: f64,
    pub(super) east: f64,
    pub(super) north: f64,
}

fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

pub(super) fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

impl Place {
    pub(super) fn is_valid(self) -> bool {
        (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&self.longitude)
            && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&self.latitude)
    }

    /// The distance along the earth's surface, in metres.
    pub(super) fn distance(self, other: Self) -> f64 {
        let across = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if across == 0.0 {
            return self.distance_in_latitude(other);
        }
        let (from, to) = (radians(self.latitude), radians(other.latitude));
        let along = ((to - from) / 2.0).sin();
        let part = along * along + from.cos() * to.cos() * across * across;
        2.0 * EARTH_RADIUS * part.sqrt().asin()
    }

    pub(super) fn distance_in_latitude(self, other: Self) -> f64 {
        EARTH_RADIUS * (radians(other.latitude) - radians(self.latitude)).abs()
    }

    /// The score of this place.
    pub(super) fn score(self) -> f64 {
        // 52 bits fit into a double.
        Cell::of(self, STEPS_MAX).number() as f64
    }

    /// The middle of the cell that a score numbers.
    pub(super) fn of_score(score: f64) -> Self {
        // A sorted set may hold scores that are no places; they become some place.
        let number = if score < 0.0 {
            (score as i64).cast_unsigned()
        } else if score < 2_f64.powi(64) {
            score as u64
        } else {
            0
        };
        let bounds = Cell {
            east: collect_even_bits(number >> 1),
            north: collect_even_bits(number),
            steps: STEPS_MAX,
        }
        .bounds();
        let middle = |low: f64, high: f64, max: f64| ((low + high) / 2.0).clamp(-max, max);
        Self {
            longitude: middle(bounds.west, bounds.east, LONGITUDE_MAX),
            latitude: middle(bounds.south, bounds.north, LATITUDE_MAX),
        }
    }

    /// The geohash as the rest of the world writes it, which goes to the poles.
    pub(super) fn geohash(self) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let number = Cell::within(self, LONGITUDE_MAX, 90.0, STEPS_MAX).number();
        let letter = |at: u32| {
            // The 52 bits are ten letters; the eleventh is there because it always was.
            let bits = if at < 10 {
                number >> (47 - 5 * at) & 31
            } else {
                0
            };
            char::from(ALPHABET[bits as usize])
        };
        (0..11).map(letter).collect()
    }

    /// The box around a circle or a box whose half width and height are given in metres.
    pub(super) fn bounds(self, half_width: f64, half_height: f64) -> Bounds {
        let up = degrees(half_height / EARTH_RADIUS);
        let sideways = |latitude: f64| degrees(half_width / EARTH_RADIUS / radians(latitude).cos());
        let sideways = if self.latitude < 0.0 {
            sideways(self.latitude - up)
        } else {
            sideways(self.latitude + up)
        };
        Bounds {
            west: self.longitude - sideways,
            south: self.latitude - up,
            east: self.longitude + sideways,
            north: self.latitude + up,
        }
    }

    /// The middle of several places on the globe.
    pub(super) fn middle(places: &[Self]) -> Self {
        let mut sums = [0.0; 3];
        for place in places {
            let (longitude, latitude) = (radians(place.longitude), radians(place.latitude));
            sums[0] += EARTH_RADIUS * latitude.cos() * longitude.cos();
            sums[1] += EARTH_RADIUS * latitude.cos() * longitude.sin();
            sums[2] += EARTH_RADIUS * latitude.sin();
        }
        let [x, y, z] = sums.map(|sum| sum / places.len() as f64);
        Self {
            longitude: degrees(y.atan2(x)),
            latitude: degrees(z.atan2((x * x + y * y).sqrt())),
        }
    }
}

/// A cell: its place in the grid that so many halvings make, counted from the south-west.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    east: u32,
    north: u32,
    steps: u32,
}

impl Cell {
    pub(super) fn of(place: Place, steps: u32) -> Self {
        Self::within(place, LONGITUDE_MAX, LATITUDE_MAX, steps)
    }

    fn within(place: Place, longitude_max: f64, latitude_max: f64, steps: u32) -> Self {
        let index = |at: f64, max: f64| {
            let part = (at + max) / (max + max);
            (part * f64::from(1 << steps)) as u32
        };
        Self {
            east: index(place.longitude, longitude_max),
            north: index(place.latitude, latitude_max),
            steps,
        }
    }

    fn number(self) -> u64 {
        spread_bits(self.east) << 1 | spread_bits(self.north)
    }

    /// The cell so many cells away; beyond an edge of the map it goes on at the other.
    fn moved(self, east: i32, north: i32) -> Self {
        let mask = (1 << self.steps) - 1;
        // A place on the last meridian or parallel is in a cell beyond the map, which holds nothing.
        let moved = |index: u32, by: i32| match by {
            0 => index,
            by => index.wrapping_add_signed(by) & mask,
        };
        Self {
            east: moved(self.east, east),
            north: moved(self.north, north),
            steps: self.steps,
        }
    }

    fn bounds(self) -> Bounds {
        let width = f64::from(1 << self.steps);
        let side = |at: f64, max: f64| -max + at / width * (max + max);
        let (east, north) = (f64::from(self.east), f64::from(self.north));
        Bounds {
            west: side(east, LONGITUDE_MAX),
            east: side(east + 1.0, LONGITUDE_MAX),
            south: side(north, LATITUDE_MAX),
            north: side(north + 1.0, LATITUDE_MAX),
        }
    }

    /// The scores of places in this cell: from the first, up to the second, which is not included.
    pub(super) fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS_MAX - self.steps);
        let number = self.number();
        ((number << shift) as f64, ((number + 1) << shift) as f64)
    }
}

/// Puts a zero above each bit.
fn spread_bits(bits: u32) -> u64 {
    let mut wide = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        wide = (wide | wide << shift) & mask;
    }
    wide
}

/// Takes every second bit, from the lowest on.
fn collect_even_bits(wide: u64) -> u32 {
    let mut bits = wide & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    // The last mask left 32 bits.
    bits as u32
}

/// Halvings after which a cell and its neighbours cover a circle.
fn steps_for(radius: f64, latitude: f64) -> u32 {
    if radius == 0.0 {
        return STEPS_MAX;
    }
    let mut steps: i32 = -1;
    let mut size = radius;
    while size < MERCATOR_MAX {
        size *= 2.0;
        steps += 1;
    }
    // Cells are narrower towards the poles.
    if latitude.abs() > 66.0 {
        steps -= 1;
    }
    if latitude.abs() > 80.0 {
        steps -= 1;
    }
    steps.clamp(1, STEPS_MAX as i32).cast_unsigned()
}

/// The cells that cover a box whose corners are `radius` metres from the centre.
pub(super) fn covering(centre: Place, radius: f64, bounds: Bounds) -> Vec<Cell> {
    let mut steps = steps_for(radius, centre.latitude);
    let cell = Cell::of(centre, steps);
    let reaches = cell.moved(0, 1).bounds().north >= bounds.north
        && cell.moved(0, -1).bounds().south <= bounds.south
        && cell.moved(1, 0).bounds().east >= bounds.east
        && cell.moved(-1, 0).bounds().west <= bounds.west;
    if steps > 1 && !reaches {
        steps -= 1;
    }
    let cell = Cell::of(centre, steps);
    let own = cell.bounds();
    let needed = |east: i32, north: i32| {
        steps < 2
            || !(east < 0 && own.west < bounds.west
                || east > 0 && own.east > bounds.east
                || north < 0 && own.south < bounds.south
                || north > 0 && own.north > bounds.north)
    };
    // In the order in which Redis finds places.
    let around = [
        (0, 1),
        (0, -1),
        (1, 0),
        (-1, 0),
        (1, 1),
        (-1, 1),
        (1, -1),
        (-1, -1),
    ];
    let mut cells = vec![cell];
    for (east, north) in around {
        let next = cell.moved(east, north);
        // On a map of few cells, the neighbours on both sides are the same one.
        if needed(east, north) && (cells.len() == 1 || cells.last() != Some(&next)) {
            cells.push(next);
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::{Place, collect_even_bits, spread_bits};

    #[test]
    fn a_score_leads_back_to_its_place() {
        let palermo = Place {
            longitude: 13.361389,
            latitude: 38.115556,
        };
        assert_eq!(palermo.score(), 3_479_099_956_230_698.0);
        assert_eq!(palermo.geohash(), "sqc8b49rny0");
        let found = Place::of_score(palermo.score());
        assert!(palermo.distance(found) < 1.0, "{found:?}");
        let catania = Place {
            longitude: 15.087269,
            latitude: 37.502669,
        };
        let distance = found.distance(Place::of_score(catania.score()));
        assert_eq!(format!("{distance:.4}"), "166274.1516");
    }

    #[test]
    fn bits_are_spread_and_collected() {
        for bits in [0, 1, 0x8000_0001, 0xdead_beef, u32::MAX] {
            let wide = spread_bits(bits);
            assert_eq!(wide & 0xaaaa_aaaa_aaaa_aaaa, 0);
            assert_eq!(collect_even_bits(wide | 0xaaaa_aaaa_aaaa_aaaa), bits);
        }
    }
}
