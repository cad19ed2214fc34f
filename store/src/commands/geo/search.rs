//! Searches for places in a circle, a box or a polygon.

use std::cmp::Ordering;

use super::cells::{Bounds, Place, covering};
use super::{metres, place, tell_distance, tell_place};
use crate::commands::arguments::integer;
use crate::commands::spec::{
    Answer, Argv, DENYOOM, Keys, MOVABLEKEYS, Out, READONLY, WRITE, commands,
};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::zset::Zset;
use ferrite_protocol::budget::{LOOKUP, elements};
use ferrite_protocol::number::{parse_double, parse_integer};

commands! {
    "geosearch", -7, READONLY, Keys::FIRST => geosearch,
        "geo", "key FROMMEMBER|FROMLONLAT|BYRADIUS|BYBOX|BYPOLYGON argument BYRADIUS|BYBOX argument M|KM|FT|MI [argument ...] [ASC|DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        "Finds places in a circle, a box or a polygon.";
    "geosearchstore", -8, WRITE | DENYOOM, Keys::TWO => geosearchstore,
        "geo", "destination source FROMMEMBER|FROMLONLAT|BYRADIUS|BYBOX|BYPOLYGON argument BYRADIUS|BYBOX argument M|KM|FT|MI [argument ...] [ASC|DESC] [COUNT count [ANY]] [STOREDIST]",
        "Finds places in a circle, a box or a polygon, and stores them.";
    "georadius", -6, WRITE | DENYOOM | MOVABLEKEYS, Keys::FirstAndStored => georadius,
        "geo", "key longitude latitude radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC] [STORE key|STOREDIST key]",
        "Finds places in a circle.";
    "georadius_ro", -6, READONLY, Keys::FIRST => georadius_ro,
        "geo", "key longitude latitude radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC]",
        "Finds places in a circle, and stores nothing.";
    "georadiusbymember", -5, WRITE | DENYOOM | MOVABLEKEYS, Keys::FirstAndStored => georadiusbymember,
        "geo", "key member radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC] [STORE key|STOREDIST key]",
        "Finds places in a circle around one of them.";
    "georadiusbymember_ro", -5, READONLY, Keys::FIRST => georadiusbymember_ro,
        "geo", "key member radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC]",
        "Finds places in a circle around one of them, and stores nothing.";
}

/// The area to search; lengths in metres.
#[derive(Clone, Debug)]
enum Shape {
    Circle { radius: f64 },
    Rectangle { width: f64, height: f64 },
    Polygon { corners: Vec<Place> },
}

impl Shape {
    /// The distance of a place from the centre, if it is inside.
    fn distance(&self, centre: Place, place: Place) -> Option<f64> {
        match self {
            Self::Circle { radius } => {
                let distance = centre.distance(place);
                (distance <= *radius).then_some(distance)
            }
            Self::Rectangle { width, height } => {
                let along = Place {
                    longitude: centre.longitude,
                    latitude: place.latitude,
                };
                let inside = place.distance_in_latitude(centre) <= height / 2.0
                    && place.distance(along) <= width / 2.0;
                inside.then(|| centre.distance(place))
            }
            Self::Polygon { corners } => {
                // A ray from a place inside crosses an odd number of sides.
                let before = corners.iter().cycle().skip(corners.len() - 1);
                let crossed = corners.iter().zip(before).filter(|(a, b)| {
                    let between = (a.latitude > place.latitude) != (b.latitude > place.latitude);
                    let slope = (b.longitude - a.longitude) * (place.latitude - a.latitude)
                        / (b.latitude - a.latitude);
                    between && place.longitude < slope + a.longitude
                });
                (crossed.count() % 2 == 1).then(|| centre.distance(place))
            }
        }
    }

    /// The box around the shape, and how far its corners are from the centre.
    fn extent(&self, centre: Place) -> (Bounds, f64) {
        match self {
            Self::Circle { radius } => (centre.bounds(*radius, *radius), *radius),
            Self::Rectangle { width, height } => {
                let (width, height) = (width / 2.0, height / 2.0);
                let corner = (width * width + height * height).sqrt();
                (centre.bounds(width, height), corner)
            }
            Self::Polygon { corners } => {
                let longitudes = corners.iter().map(|corner| corner.longitude);
                let latitudes = corners.iter().map(|corner| corner.latitude);
                let bounds = Bounds {
                    west: longitudes.clone().fold(f64::INFINITY, f64::min),
                    east: longitudes.fold(f64::NEG_INFINITY, f64::max),
                    south: latitudes.clone().fold(f64::INFINITY, f64::min),
                    north: latitudes.fold(f64::NEG_INFINITY, f64::max),
                };
                let distance = [
                    (bounds.west, bounds.north),
                    (bounds.east, bounds.north),
                    (bounds.west, bounds.south),
                    (bounds.east, bounds.south),
                ]
                .into_iter()
                .map(|(longitude, latitude)| {
                    centre.distance(Place {
                        longitude,
                        latitude,
                    })
                });
                (bounds, distance.fold(0.0, f64::max))
            }
        }
    }
}

/// The command that searches; it decides the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Search,
    SearchStore,
    Radius { may_store: bool },
    RadiusByMember { may_store: bool },
}

/// A search.
#[derive(Default)]
struct Search<'a> {
    centre: Option<Place>,
    /// True once the request has named the centre, even if the key does not exist.
    has_centre: bool,
    shape: Option<Shape>,
    /// Metres of the unit in which distances are told.
    unit: f64,
    order: Option<Ordering>,
    /// Most places; any that are found, if `any`.
    count: Option<usize>,
    any: bool,
    with_distance: bool,
    with_score: bool,
    with_place: bool,
    destination: Option<&'a [u8]>,
    store_distances: bool,
}

fn length(text: &[u8], complaint: &'static str) -> Result<f64, StoreError> {
    parse_double(text).ok_or(StoreError::Refused(complaint))
}

impl<'a> Search<'a> {
    fn circle(&mut self, radius: &[u8], unit: &[u8]) -> Result<(), StoreError> {
        let radius = length(radius, "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(StoreError::Refused("ERR radius cannot be negative"));
        }
        self.unit = metres(unit)?;
        self.shape = Some(Shape::Circle {
            radius: radius * self.unit,
        });
        Ok(())
    }

    fn rectangle(&mut self, width: &[u8], height: &[u8], unit: &[u8]) -> Result<(), StoreError> {
        let width = length(width, "ERR need numeric width")?;
        let height = length(height, "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(StoreError::Refused(
                "ERR height or width cannot be negative",
            ));
        }
        self.unit = metres(unit)?;
        self.shape = Some(Shape::Rectangle {
            width: width * self.unit,
            height: height * self.unit,
        });
        Ok(())
    }

    /// Reads the corners of a polygon after their number; returns how many arguments they are.
    fn polygon(&mut self, argv: &[&[u8]]) -> Result<usize, StoreError> {
        let count = parse_integer(argv[0])
            .filter(|count| i32::try_from(*count).is_ok())
            .ok_or(StoreError::Refused("ERR invalid number of vertices"))?;
        let (pairs, _) = argv[1..].as_chunks::<2>();
        let corners = usize::try_from(count)
            .ok()
            .filter(|count| *count >= 3)
            .and_then(|count| pairs.get(..count))
            .ok_or(StoreError::Refused(
                "ERR GEOSEARCH BYPOLYGON must have at least 3 vertices",
            ))?;
        let corners: Vec<Place> = corners
            .iter()
            .map(|[longitude, latitude]| place(longitude, latitude))
            .collect::<Result<_, _>>()?;
        self.unit = 1.0;
        self.centre = Some(Place::middle(&corners));
        self.shape = Some(Shape::Polygon { corners });
        Ok(2 * count as usize)
    }

    fn centre_of_member(&mut self, zset: Option<&Zset>, member: &[u8]) -> Result<(), StoreError> {
        self.has_centre = true;
        if let Some(zset) = zset {
            let score = zset.score(member).ok_or_else(|| {
                let member = String::from_utf8_lossy(member);
                StoreError::with(format!("ERR member {member} does not exist"))
            })?;
            self.centre = Some(Place::of_score(score));
        }
        Ok(())
    }

    /// Reads the options.
    fn options(
        &mut self,
        variant: Variant,
        zset: Option<&Zset>,
        argv: &[&'a [u8]],
    ) -> Result<(), StoreError> {
        let searching = matches!(variant, Variant::Search | Variant::SearchStore);
        let may_store = matches!(
            variant,
            Variant::Radius { may_store: true } | Variant::RadiusByMember { may_store: true }
        );
        let (mut by_member, mut by_place) = (false, false);
        let mut at = 0;
        while let Some(option) = argv.get(at) {
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            let after = &argv[at + 1..];
            at += 1;
            let polygon = matches!(self.shape, Some(Shape::Polygon { .. }));
            if is(b"withdist") {
                self.with_distance = true;
            } else if is(b"withhash") {
                self.with_score = true;
            } else if is(b"withcoord") {
                self.with_place = true;
            } else if is(b"any") {
                self.any = true;
            } else if is(b"asc") {
                self.order = Some(Ordering::Less);
            } else if is(b"desc") {
                self.order = Some(Ordering::Greater);
            } else if let (true, [count, ..]) = (is(b"count"), after) {
                let count = integer(count)?;
                if count <= 0 {
                    return Err(StoreError::Refused("ERR COUNT must be > 0"));
                }
                self.count = Some(usize::try_from(count).unwrap_or(usize::MAX));
                at += 1;
            } else if let (true, [key, ..]) =
                ((is(b"store") || is(b"storedist")) && may_store, after)
            {
                self.destination = Some(key);
                self.store_distances = is(b"storedist");
                at += 1;
            } else if is(b"storedist") && variant == Variant::SearchStore {
                self.store_distances = true;
            } else if !searching {
                return Err(StoreError::Syntax);
            } else if let (true, [member, ..]) = (is(b"frommember") && !by_place && !polygon, after)
            {
                self.centre_of_member(zset, member)?;
                by_member = true;
                at += 1;
            } else if let (true, [longitude, latitude, ..]) =
                (is(b"fromlonlat") && !by_member && !polygon, after)
            {
                self.centre = Some(place(longitude, latitude)?);
                self.has_centre = true;
                by_place = true;
                at += 2;
            } else if let (true, [radius, unit, ..]) = (
                is(b"byradius") && matches!(self.shape, None | Some(Shape::Circle { .. })),
                after,
            ) {
                self.circle(radius, unit)?;
                at += 2;
            } else if let (true, [width, height, unit, ..]) = (
                is(b"bybox") && matches!(self.shape, None | Some(Shape::Rectangle { .. })),
                after,
            ) {
                self.rectangle(width, height, unit)?;
                at += 3;
            } else if is(b"bypolygon")
                && matches!(self.shape, None | Some(Shape::Polygon { .. }))
                && !self.has_centre
                && after.len() >= 2
            {
                at += 1 + self.polygon(after)?;
            } else {
                return Err(StoreError::Syntax);
            }
        }
        Ok(())
    }

    fn check(&self, variant: Variant, name: &[u8]) -> Result<(), StoreError> {
        let with = self.with_distance || self.with_score || self.with_place;
        if self.destination.is_some() && with {
            return Err(StoreError::Refused(match variant {
                Variant::SearchStore => {
                    "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
                }
                _ => {
                    "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
                }
            }));
        }
        let polygon = matches!(self.shape, Some(Shape::Polygon { .. }));
        let name = String::from_utf8_lossy(name);
        if matches!(variant, Variant::Search | Variant::SearchStore) {
            if !self.has_centre && !polygon {
                return Err(StoreError::with(format!(
                    "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
                )));
            }
            if self.shape.is_none() {
                return Err(StoreError::with(format!(
                    "ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for {name}"
                )));
            }
        }
        if self.any && self.count.is_none() {
            return Err(StoreError::Refused(
                "ERR the ANY argument requires COUNT argument",
            ));
        }
        Ok(())
    }

    /// The places that are found, in order.
    fn run(&self, zset: &Zset, out: Out<'_>) -> Result<Vec<Found>, StoreError> {
        let (Some(centre), Some(shape)) = (self.centre, &self.shape) else {
            return Ok(Vec::new());
        };
        // A distance takes several trigonometric functions, and a polygon a step for each corner.
        let units = match shape {
            Shape::Circle { .. } | Shape::Rectangle { .. } => 3 * LOOKUP,
            Shape::Polygon { corners } => 3 * LOOKUP + elements(corners.len()),
        };
        let (bounds, radius) = shape.extent(centre);
        let most = self.count.unwrap_or(usize::MAX);
        let places = covering(centre, radius, bounds)
            .into_iter()
            .flat_map(|cell| {
                let (low, high) = cell.scores();
                let start = zset.partition_point(|score, _| score < low);
                let end = zset.partition_point(|score, _| score < high);
                zset.range(start, end.max(start))
            });
        let mut found = Vec::new();
        for (member, score) in places {
            if self.any && found.len() == most {
                break;
            }
            out.charge(units)?;
            let place = Place::of_score(score);
            if let Some(distance) = shape.distance(centre, place) {
                found.push(Found {
                    member: member.clone(),
                    score,
                    place,
                    distance,
                });
            }
        }
        // The nearest are counted, unless any will do.
        let nearest = (self.count.is_some() && !self.any).then_some(Ordering::Less);
        if let Some(order) = self.order.or(nearest) {
            found.sort_by(|left, right| {
                let by_distance = left.distance.total_cmp(&right.distance);
                match order {
                    Ordering::Greater => by_distance.reverse(),
                    _ => by_distance,
                }
            });
        }
        found.truncate(most);
        Ok(found)
    }

    fn tell(&self, found: &[Found], out: Out<'_>) -> Answer {
        let extras = [self.with_distance, self.with_score, self.with_place];
        let extras = extras.into_iter().filter(|extra| *extra).count();
        out.array(found.len());
        for one in found {
            out.charge(3 * LOOKUP)?;
            if extras > 0 {
                out.array(1 + extras);
            }
            out.bulk(&one.member);
            if self.with_distance {
                tell_distance(one.distance / self.unit, out);
            }
            if self.with_score {
                out.int(one.score as i64);
            }
            if self.with_place {
                tell_place(one.place, out);
            }
        }
        Ok(())
    }
}

/// A place that was found.
struct Found {
    member: Blob,
    score: f64,
    place: Place,
    /// From the centre, in metres.
    distance: f64,
}

fn search<V: View>(view: &mut V, variant: Variant, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let source = argv[if variant == Variant::SearchStore {
        2
    } else {
        1
    }];
    let zset = view.read::<Zset>(source)?.cloned();
    let mut search = Search::default();
    let options = match variant {
        Variant::Search => 2,
        Variant::SearchStore => {
            search.destination = Some(argv[1]);
            3
        }
        Variant::Radius { .. } => {
            search.centre = Some(place(argv[2], argv[3])?);
            search.circle(argv[4], argv[5])?;
            6
        }
        Variant::RadiusByMember { .. } => {
            if zset.is_some() {
                search.centre_of_member(zset.as_ref(), argv[2])?;
                search.circle(argv[3], argv[4])?;
            }
            5
        }
    };
    search.options(variant, zset.as_ref(), &argv[options..])?;
    search.check(variant, argv[0])?;
    let found = match &zset {
        Some(zset) => search.run(zset, out)?,
        None => Vec::new(),
    };
    let Some(destination) = search.destination else {
        return search.tell(&found, out);
    };
    let mut stored = Zset::default();
    for one in &found {
        out.charge(2 * LOOKUP)?;
        let score = if search.store_distances {
            one.distance / search.unit
        } else {
            one.score
        };
        stored.insert(&one.member, score);
    }
    view.put(destination, stored.into(), Deadline::NEVER)?;
    out.int(found.len() as i64);
    Ok(())
}

fn geosearch<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    search(view, Variant::Search, argv, out)
}

fn geosearchstore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    search(view, Variant::SearchStore, argv, out)
}

fn georadius<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    search(view, Variant::Radius { may_store: true }, argv, out)
}

fn georadius_ro<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    search(view, Variant::Radius { may_store: false }, argv, out)
}

fn georadiusbymember<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    search(view, Variant::RadiusByMember { may_store: true }, argv, out)
}

fn georadiusbymember_ro<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    search(
        view,
        Variant::RadiusByMember { may_store: false },
        argv,
        out,
    )
}
