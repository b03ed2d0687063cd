//! Tests that hold the shapes, the types, the defaults and the schema against each other. No code of its own.

use crate::files::FILES;
use crate::load::assemble;
use crate::model::scenario;
use crate::places::Places;
use crate::report::Diagnostic;
use crate::shape::{Field, Need, Pick, Shape};
use crate::walk::Walk;
use crate::yaml::{Node, parse};
use serde_json::{Map, Value};

fn picks() -> impl Iterator<Item = Pick> {
    (0..20).flat_map(|nth| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(high, full)| Pick {
            high,
            nth,
            full,
        })
    })
}

fn walk(shape: &Shape, node: &Node) -> (Value, Vec<Diagnostic>) {
    let (mut places, mut out, mut inherits) = (Places::default(), Vec::new(), Vec::new());
    places.add_file("sample".to_owned());
    let env = |_: &str| None;
    let mut walk =
        Walk { env: &env, places: &mut places, out: &mut out, inherits: &mut inherits, written: true };
    let value = walk.value(shape, node, "");
    (value, out)
}

/// Calls `visit` for every field of every shape, nested ones too.
fn fields(shape: &Shape, visit: &mut dyn FnMut(&Field)) {
    let mut each = |all: &[Field]| {
        for field in all {
            visit(field);
            fields(&field.shape, visit);
        }
    };
    match shape {
        Shape::Map(all) | Shape::OneOf(all) => each(all),
        Shape::Tagged { variants, .. } => variants.iter().for_each(|variant| each(variant.fields)),
        Shape::List { of, .. } | Shape::Dict { of, .. } => fields(of, visit),
        _ => {}
    }
}

#[test]
fn every_value_that_a_shape_takes_fits_its_type() {
    for pick in picks() {
        let root: Map<String, Value> =
            FILES.iter().map(|file| (file.section.to_owned(), file.shape().sample(pick))).collect();
        if let Err(error) = assemble(root) {
            panic!("{pick:?}: {error}");
        }
    }
}

#[test]
fn every_sample_passes_its_own_walk_and_the_schema() {
    let schema = crate::schema();
    let validators: Vec<_> = FILES.iter().map(|file| validator(&schema, file.name())).collect();
    for pick in picks() {
        for (file, validator) in FILES.iter().zip(&validators) {
            let sample = crate::show::without_nulls(file.shape().sample(pick));
            let text = crate::show::yaml(&sample);
            let node = parse(&text, 0).unwrap_or_else(|refusal| panic!("{refusal:?}\n{text}"));
            let (_, findings) = walk(&file.shape(), &node);
            assert!(findings.is_empty(), "{pick:?} {}: {findings:#?}\n{text}", file.name());
            assert_valid(validator, file.name(), &node);
        }
    }
}

#[test]
fn every_default_is_a_value_of_its_shape() {
    let mut count = 0;
    for file in FILES {
        fields(&file.shape(), &mut |field| {
            assert!(!field.doc.is_empty(), "{} has no help", field.key);
            if let Need::Default(text) = field.need {
                count += 1;
                let (_, findings) = walk(&field.shape, &parse(text, 0).unwrap());
                assert!(findings.is_empty(), "{}: {findings:#?}", field.key);
            }
        });
    }
    assert!(count > 200, "only {count} defaults were seen");
}

#[test]
fn every_inherited_value_comes_from_a_key_of_the_same_shape() {
    let mut shapes = Vec::new();
    for (key, _) in crate::files::leaves() {
        shapes.push(key);
    }
    for file in FILES {
        fields(&file.shape(), &mut |field| {
            if let Need::Inherit(from) = field.need {
                assert!(shapes.iter().any(|key| key == from), "{}: there is no {from}", field.key);
            }
        });
    }
}

#[test]
fn a_scenario_holds_its_shape_its_type_and_the_schema() {
    let shape = Shape::Map(scenario::KEYS);
    let schema = crate::schema();
    let validator = validator(&schema, "scenario");
    for pick in picks() {
        let sample = shape.sample(pick);
        let typed = serde_json::from_value::<scenario::Scenario>(sample.clone());
        assert!(typed.is_ok(), "{pick:?}: {typed:?}");
        let text = crate::show::yaml(&crate::show::without_nulls(sample));
        let node = parse(&text, 0).unwrap_or_else(|refusal| panic!("{refusal:?}\n{text}"));
        let (_, findings) = walk(&shape, &node);
        assert!(findings.is_empty(), "{pick:?}: {findings:#?}\n{text}");
        assert_valid(&validator, "scenario", &node);
    }
    fields(&shape, &mut |field| {
        assert!(!field.doc.is_empty(), "{} has no help", field.key);
        if let Need::Default(text) = field.need {
            let (_, findings) = walk(&field.shape, &parse(text, 0).unwrap());
            assert!(findings.is_empty(), "{}: {findings:#?}", field.key);
        }
    });
}

#[test]
fn the_schema_takes_the_shipped_scenarios() {
    let validator = validator(&crate::schema(), "scenario");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["mcp-mix", "http", "sse", "ramp"] {
        let text = std::fs::read_to_string(root.join(format!("scenarios/{name}.yaml"))).unwrap();
        assert_valid(&validator, name, &parse(&text, 0).unwrap());
    }
    assert!(!validator.is_valid(&serde_json::json!({ "traffic": { "protocol": "gopher" } })));
    assert!(!validator.is_valid(&serde_json::json!({ "trafic": { "protocol": "http" } })));
}

fn validator(schema: &Value, file: &str) -> jsonschema::Validator {
    let mut one = schema["$defs"][file].clone();
    one["$schema"] = schema["$schema"].clone();
    jsonschema::validator_for(&one).unwrap()
}

fn assert_valid(validator: &jsonschema::Validator, file: &str, node: &Node) {
    let instance = crate::schema::plain(node);
    let errors: Vec<String> =
        validator.iter_errors(&instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{file}: {errors:#?}\n{instance:#}");
}

fn is_valid(schema: &Value, file: &str, text: &str) -> bool {
    validator(schema, file).is_valid(&crate::schema::plain(&parse(text, 0).unwrap()))
}

#[test]
fn the_schema_takes_the_shipped_files_and_refuses_what_the_walk_refuses() {
    let schema = crate::schema();
    jsonschema::meta::validate(&schema).unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for file in FILES {
        for folder in ["default", "cluster"] {
            for name in file.names {
                let Ok(text) = std::fs::read_to_string(root.join(folder).join(name)) else { continue };
                assert_valid(&validator(&schema, file.name()), file.name(), &parse(&text, 0).unwrap());
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 17, "3 files of the default, 14 of the cluster");
    for (file, text) in [
        ("load-balancer.yaml", "load_balancer: {stategy: round_robin}"),
        ("load-balancer.yaml", "load_balancer: {strategy: fastest}"),
        ("load-balancer.yaml", "load_balancer: {nodes: [{host: a}]}"),
        ("pool.yaml", "connection_pools: {tcp_pool: {size: 0}}"),
        ("chaos.yaml", "chaos: {experiments: [{name: a}]}"),
        ("routes.yaml", "routes: [{name: a, to: [], match: {path: {exact: /, prefix: /}}}]"),
        ("runtime.yaml", "buffers: {receive_window: lots}"),
    ] {
        assert!(!is_valid(&schema, file, text), "{file}: {text}");
        let spec = FILES.iter().find(|spec| spec.name() == file).unwrap();
        assert!(!walk(&spec.shape(), &parse(text, 0).unwrap()).1.is_empty(), "{file}: {text}");
    }
}
