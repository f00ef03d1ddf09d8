db.query("INSERT INTO kept VALUES (1)");
