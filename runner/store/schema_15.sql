-- Lists of tasks that run once an item (`fan_out`): made when the task begins, and kept beside the plan of its execution.

CREATE TABLE lists (
    execution_id INTEGER NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    task_type TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (execution_id, task_type)
) WITHOUT ROWID;
