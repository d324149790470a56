#[test]
fn parses() {
    let text = include_str!("../../../deploy/blueprints/host-and-repo.yaml");
    match nova_lifecycle::plan::parse(text, "host-and-repo.yaml") {
        Ok(plan) => {
            let input = serde_json::json!({"repo": "/tmp/x"});
            println!("{:?}", nova_lifecycle::plan::check_input("input", &plan, input));
        }
        Err(violations) => panic!("{violations}"),
    }
}
